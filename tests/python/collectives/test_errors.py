"""What real backends refuse is an error that names group, ranks, shapes and the way out."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C

pytestmark = pytest.mark.usefixtures("world4")
F = torch.ops._c10d_functional


def of_sizes(*sizes: int) -> torch.Tensor:
    return polyrank.rank_map(lambda rank: torch.ones(sizes[rank]))


def test_sizes_that_differ_between_ranks() -> None:
    message = (
        r'group "world" \(ranks 0-3\), launch #\d+: ranks disagree.\n'
        r"  ranks 0-2: all_reduce\(sum\) float32\[4\]  [^\n]+test_errors\.py:\d+\n"
        r"  rank 3: all_reduce\(sum\) float32\[5\]"
    )
    with pytest.raises(polyrank.CollectiveMismatchError, match=message):
        dist.all_reduce(of_sizes(4, 4, 4, 5))
    with pytest.raises(polyrank.CollectiveMismatchError, match="ranks 0,2: broadcast"):
        dist.broadcast(of_sizes(1, 2, 1, 2), src=0)
    with pytest.raises(polyrank.CollectiveMismatchError, match="ranks 1,3: all_gather"):
        F.all_gather_into_tensor(of_sizes(1, 2, 1, 2), 4, dist.group.WORLD.group_name)


def test_output_of_another_size() -> None:
    message = r"the output float32\[8\] and the input float32\[4\]; the output must have 4 times"
    with pytest.raises(polyrank.CollectiveError, match=message):
        dist.all_gather_into_tensor(torch.empty(8), of_sizes(4, 4, 4, 4))
    with pytest.raises(polyrank.CollectiveError, match="Allocate the output"):
        dist.reduce_scatter_tensor(torch.empty(2), of_sizes(4, 4, 4, 4))


def test_a_failed_launch_changes_nothing() -> None:
    outputs = [torch.zeros(4) for _ in range(3)] + [torch.zeros(5)]
    with pytest.raises(polyrank.CollectiveError):
        dist.all_gather(outputs, of_sizes(4, 4, 4, 4))
    assert all((t == 0).all().item() for t in outputs)


def test_output_of_another_dtype() -> None:
    with pytest.raises(polyrank.CollectiveError, match=r"float32\[4\] on cpu and float64\[16\]"):
        F.all_gather_into_tensor_out(
            of_sizes(4, 4, 4, 4),
            4,
            dist.group.WORLD.group_name,
            out=torch.empty(16, dtype=torch.float64),
        )


def test_pieces_that_leave_a_rest() -> None:
    with pytest.raises(
        polyrank.CollectiveError, match=r"cuts the input float32\[6\] into 4 equal pieces"
    ):
        dist.all_to_all_single(torch.empty(6), of_sizes(6, 6, 6, 6))
    with pytest.raises(polyrank.CollectiveError, match="multiple of the group size"):
        F.reduce_scatter_tensor(of_sizes(6, 6, 6, 6), "sum", 4, dist.group.WORLD.group_name)


def test_a_list_of_the_wrong_length() -> None:
    with pytest.raises(polyrank.CollectiveError, match="was given a list of 3 output tensors"):
        dist.all_gather([torch.empty(1)] * 3, torch.ones(1))


def test_reduce_ops_that_do_not_apply() -> None:
    with pytest.raises(polyrank.CollectiveError, match="band works on the bits of integers"):
        dist.all_reduce(of_sizes(1, 1, 1, 1), dist.ReduceOp.BAND)
    with pytest.raises(polyrank.UsageError, match='no reduce op is called "SUM"'):
        F.all_reduce(of_sizes(1, 1, 1, 1), "SUM", dist.group.WORLD.group_name)


def test_groups_that_do_not_exist() -> None:
    with pytest.raises(polyrank.CollectiveError, match='no process group "nope"; there are'):
        F.all_reduce(of_sizes(1, 1, 1, 1), "sum", "nope")


def test_a_group_size_that_is_not_the_groups() -> None:
    with pytest.raises(polyrank.CollectiveError, match="told that it has 3 ranks, but it has 4"):
        F.all_gather_into_tensor(of_sizes(1, 1, 1, 1), 3, dist.group.WORLD.group_name)


def test_a_root_that_the_group_does_not_have() -> None:
    with pytest.raises(polyrank.CollectiveError, match=r"no group rank 7; valid: 0\.\.3"):
        F.broadcast(of_sizes(1, 1, 1, 1), 7, dist.group.WORLD.group_name)


def test_collectives_that_lockstep_does_not_run() -> None:
    with pytest.raises(polyrank.UnsupportedOpError, match="Name the source, which may differ"):
        dist.recv(torch.ones(1))
    with pytest.raises(polyrank.UnsupportedOpError, match="reduce_scatter_out does not run"):
        torch.ops.symm_mem.reduce_scatter_out(torch.ones(4), "0", False, torch.ones(1))


def test_premul_sum_without_its_factor() -> None:
    with pytest.raises(polyrank.UnsupportedOpError, match="premul_sum without the factor"):
        F.all_reduce(of_sizes(1, 1, 1, 1), "premul_sum", dist.group.WORLD.group_name)


def test_a_reduction_order_that_there_is_not() -> None:
    with (
        pytest.raises(polyrank.UsageError, match='no reduction order "ring"; there are "rank"'),
        polyrank.reduction_order("ring"),
    ):
        pass
    with (
        pytest.raises(polyrank.UsageError, match="1 to 64 channels; got 0"),
        polyrank.reduction_order("nccl_ring", channels=0),
    ):
        pass
    assert _C.reduction_order() == ("rank", 1, 2 << 20, 0)
