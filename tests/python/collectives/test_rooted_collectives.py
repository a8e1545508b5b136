"""Collectives with a root, and what the other ranks keep: cohorts, lists, errors, premul_sum."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist

pytestmark = pytest.mark.usefixtures("world4")


def own_rank(*shape: int) -> torch.Tensor:
    return polyrank.rank_map(lambda rank: torch.full(shape, float(rank)))


def cohorts(tensor: torch.Tensor) -> list[list[int]]:
    return [list(cohort.ranks) for cohort in tensor.cohorts()]


def test_reduce_changes_the_root_alone() -> None:
    t = torch.ones(2)
    dist.reduce(t, dst=2)
    assert cohorts(t) == [[0, 1, 3], [2]]
    assert t.on_rank(2).tolist() == [4, 4]


def test_gather_changes_the_root_alone() -> None:
    out = [torch.zeros(1) for _ in range(4)]
    dist.gather(own_rank(1), out, dst=1)
    assert [t.on_rank(1).item() for t in out] == [0, 1, 2, 3]
    assert cohorts(out[3]) == [[0, 2, 3], [1]]


@pytest.mark.skipif(not hasattr(dist, "gather_single"), reason="this PyTorch lacks it")
def test_gather_single_changes_the_root_alone() -> None:
    out = torch.zeros(4, 1)
    dist.gather_single(own_rank(1), out, dst=1)
    assert cohorts(out) == [[0, 2, 3], [1]]
    assert out.on_rank(1).tolist() == [[0], [1], [2], [3]]
    with pytest.raises(polyrank.UsageError, match="give gather_tensor"):
        dist.gather_single(own_rank(1), dst=1)
    with pytest.raises(polyrank.CollectiveError, match="Allocate the output with that size"):
        dist.gather_single(own_rank(1), torch.zeros(3), dst=1)


def test_scatter_reads_the_roots_list() -> None:
    out = torch.zeros(1)
    dist.scatter(out, [own_rank(1) * 10 + i for i in range(4)], src=3)
    assert [out.on_rank(rank).item() for rank in range(4)] == [30, 31, 32, 33]


def test_lists_are_given_on_all_ranks() -> None:
    with pytest.raises(polyrank.UsageError, match="give gather_list"):
        dist.gather(own_rank(1), dst=1)
    with pytest.raises(polyrank.UsageError, match="give scatter_list"):
        dist.scatter(own_rank(1), src=1)


def test_all_to_all_into_its_own_input() -> None:
    tensors = [own_rank(1) * 10 + i for i in range(4)]
    dist.all_to_all(tensors, tensors)
    for i, t in enumerate(tensors):
        assert [t.on_rank(rank).item() for rank in range(4)] == [10 * i + r for r in range(4)]


def test_all_gather_of_an_uneven_list() -> None:
    t = polyrank.rank_map(lambda rank: torch.full((rank,), float(rank)))
    out = [torch.zeros(i) for i in range(4)]
    dist.all_gather(out, t)
    assert [o.on_rank(0).tolist() for o in out] == [[], [1], [2, 2], [3, 3, 3]]


def test_uneven_all_to_all_into_equal_shares_of_another_size() -> None:
    sizes = [polyrank.LocalIntNode({0: 2, 1: 1, 2: 1, 3: 1}), 1, 1, 1]
    t = polyrank.rank_map(lambda rank: torch.zeros(5 if rank == 0 else 4))
    with pytest.raises(polyrank.CollectiveError, match="rank 0 sends 2 elements to rank 0"):
        dist.all_to_all_single(torch.zeros(4), t, [1] * 4, [torch.SymInt(sizes[0]), *sizes[1:]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_premul_sum(dtype: torch.dtype) -> None:
    t = polyrank.rank_map(lambda rank: torch.tensor([rank + 1, 5], dtype=dtype))
    dist.all_reduce(t, dist._make_nccl_premul_sum(2.0))
    assert t.on_rank(0).tolist() == [20, 40]
    out = torch.zeros(1, dtype=dtype)
    pieces = polyrank.rank_map(lambda rank: torch.arange(4).to(dtype))
    dist.reduce_scatter_tensor(out, pieces, dist._make_nccl_premul_sum(3.0))
    assert [out.on_rank(rank).item() for rank in range(4)] == [0, 12, 24, 36]


def test_premul_sum_by_a_factor_of_each_rank() -> None:
    t = torch.ones(1)
    dist.all_reduce(t, dist._make_nccl_premul_sum(own_rank(1)))
    assert t.on_rank(0).item() == 6
    assert cohorts(t) == [[0, 1, 2, 3]]


def test_the_order_of_summation() -> None:
    def summed() -> float:
        t = polyrank.rank_map(lambda rank: torch.tensor([16777216.0 if rank == 0 else 1.0]))
        dist.all_reduce(t)
        return t.on_rank(0).item()

    assert summed() == 16777216  # ((2^24 + 1) + 1) + 1
    with polyrank.reduction_order("tree"):
        assert summed() == 16777218  # (2^24 + 1) + (1 + 1)
        with polyrank.reduction_order("rank"):
            assert summed() == 16777216
        assert summed() == 16777218
    assert summed() == 16777216


def test_works_and_futures() -> None:
    t = own_rank(1)
    work = dist.all_reduce(t, async_op=True)
    assert work.is_completed()
    assert work.get_future().value()[0].on_rank(0).item() == 6
    assert work.get_future().then(lambda future: 7).value() == 7
    work = dist.gather(own_rank(1), [torch.zeros(1) for _ in range(4)], async_op=True)
    assert work.wait()


def test_coalescing_manager() -> None:
    a, b = own_rank(2), own_rank(3)
    with dist.distributed_c10d._coalescing_manager(async_ops=True) as manager:
        dist.all_reduce(a)
        dist.all_reduce(b)
    manager.wait()
    assert [a.on_rank(2).tolist(), b.on_rank(1).tolist()] == [[6, 6], [6, 6, 6]]
    outs = [torch.zeros(4), torch.zeros(8)]
    with dist.distributed_c10d._coalescing_manager():
        dist.all_gather_into_tensor(outs[0], own_rank(1))
        dist.all_gather_into_tensor(outs[1], own_rank(2))
    assert outs[0].on_rank(3).tolist() == [0, 1, 2, 3]
    assert outs[1].on_rank(3).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_barrier_on_the_gpu_of_each_rank() -> None:
    rank: Any = dist.get_rank()
    dist.barrier(device_ids=[rank])
    dist.barrier(dist.group.WORLD, False, [rank])


def test_monitored_barrier() -> None:
    dist.monitored_barrier()
    dist.monitored_barrier(dist.new_group([0, 1]), wait_all_ranks=True)
