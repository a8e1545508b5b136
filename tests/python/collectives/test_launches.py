"""Works, plain tensors, cohorts, memory and the report of collectives in lockstep."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from polyrank import _C
from torch.distributed.device_mesh import init_device_mesh

pytestmark = pytest.mark.usefixtures("world4")


def distinct(*shape: int) -> torch.Tensor:
    return polyrank.rank_map(lambda rank: torch.full(shape, float(rank)))


def ranks(tensor: torch.Tensor) -> list[str]:
    return [str(cohort.ranks) for cohort in tensor.cohorts()]


def test_async_work_is_complete() -> None:
    t = distinct(2)
    work = dist.all_reduce(t, async_op=True)
    assert isinstance(work, dist.Work)
    assert work.is_completed() and work.is_success() and work.wait()
    (result,) = work.get_future().wait()
    assert result.on_rank(3).tolist() == [6, 6]
    assert work.result()[0].on_rank(0).tolist() == [6, 6]


def test_a_future_runs_what_is_chained_to_it() -> None:
    work = dist.all_reduce(distinct(2), async_op=True)
    halved = work.get_future().then(lambda future: future.value()[0] / 2).wait()
    assert halved.on_rank(1).tolist() == [3, 3]


def tensors() -> list[torch.Tensor]:
    return [torch.zeros(1) for _ in range(4)]


# Each with the number of tensors that it writes.
LAUNCHES: dict[str, tuple[Callable[[], dist.Work], int]] = {
    "all_reduce": (lambda: dist.all_reduce(distinct(2), async_op=True), 1),
    "reduce": (lambda: dist.reduce(distinct(2), 0, async_op=True), 1),
    "broadcast": (lambda: dist.broadcast(distinct(2), 0, async_op=True), 1),
    "all_gather": (lambda: dist.all_gather(tensors(), distinct(1), async_op=True), 4),
    "all_gather_single": (
        lambda: dist.all_gather_single(torch.zeros(4), distinct(1), async_op=True),
        1,
    ),
    "reduce_scatter": (lambda: dist.reduce_scatter(torch.zeros(1), tensors(), async_op=True), 1),
    "reduce_scatter_single": (
        lambda: dist.reduce_scatter_single(torch.zeros(1), distinct(4), async_op=True),
        1,
    ),
    "gather": (lambda: dist.gather(distinct(1), tensors(), async_op=True), 4),
    "scatter": (lambda: dist.scatter(torch.zeros(1), tensors(), async_op=True), 1),
    "all_to_all": (lambda: dist.all_to_all(tensors(), tensors(), async_op=True), 4),
    "all_to_all_single": (
        lambda: dist.all_to_all_single(torch.zeros(4), distinct(4), async_op=True),
        1,
    ),
    "barrier": (lambda: dist.barrier(async_op=True), 0),
}


@pytest.mark.parametrize("name", LAUNCHES)
def test_each_launch_gives_a_complete_work(name: str) -> None:
    launch, num_written = LAUNCHES[name]
    work = launch()
    assert work.wait() and work.is_completed() and work.is_success()
    assert len(work.result()) == num_written
    assert len(work.get_future().wait()) == num_written
    assert work.get_future_result().done()


def test_a_coalescing_manager_may_hold_sends_and_receives() -> None:
    received, rank = torch.zeros(1), dist.get_rank()
    device = torch.device("cpu")
    with dist.distributed_c10d._coalescing_manager(device=device, async_ops=True) as manager:
        dist.irecv(received, (rank - 1) % 4)
        dist.isend(distinct(1), (rank + 1) % 4)
    manager.wait()
    assert [received.on_rank(rank).item() for rank in range(4)] == [3, 0, 1, 2]


def test_ranks_that_hold_the_same_are_one_cohort_afterwards() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    t = distinct(2)
    dist.all_reduce(t, group=mesh.get_group("tp"))
    assert ranks(t) == ["0-1", "2-3"]
    gathered = torch.empty(8)
    dist.all_gather_into_tensor(gathered, distinct(2))
    assert ranks(gathered) == ["0-3"]
    dist.all_reduce(t)
    assert ranks(t) == ["0-3"]


def test_equal_groups_are_computed_once() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        pair = [torch.ones(1), torch.zeros(1)]
        t = polyrank.LocalTensor({rank: pair[rank % 2] for rank in range(4)})
    dist.all_reduce(t, group=mesh.get_group("tp"))
    (row,) = _C.report()
    assert (row["num_groups"], row["computed"]) == (2, 1)
    assert ranks(t) == ["0-3"]


def test_pieces_of_equal_groups_are_shared() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    out, t = torch.empty(1), torch.arange(2.0)
    dist.reduce_scatter_tensor(out, t, group=mesh.get_group("tp"))
    assert ranks(out) == ["0,2", "1,3"]


def test_a_view_sees_the_collective_on_its_base_and_the_base_that_on_a_view() -> None:
    base = distinct(4)
    view = base[:2]
    dist.all_reduce(base)
    assert view.on_rank(1).tolist() == [6, 6]
    base = distinct(4)
    dist.all_reduce(base[:2])
    assert base.on_rank(1).tolist() == [6, 6, 1, 1]


def test_a_rank_that_was_handed_out_stays_its_own() -> None:
    t = distinct(1)
    rank2 = t._local_tensors[2]
    dist.all_reduce(t)
    assert rank2.item() == 6
    rank2.fill_(1)
    assert [t.on_rank(rank).item() for rank in range(4)] == [6, 6, 1, 6]


def test_gradients_can_be_reduced_in_place() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    (weight * distinct(2)).sum().backward()
    dist.all_reduce(weight.grad, op=dist.ReduceOp.AVG)
    assert ranks(weight.grad) == ["0-3"]
    assert weight.grad.on_rank(0).tolist() == [1.5, 1.5]


def test_autograd_functional_collectives() -> None:
    mesh = init_device_mesh("cpu", (4,))
    t = distinct(4).requires_grad_()
    gathered = funcol.all_gather_tensor_autograd(t, 0, mesh.get_group(0))
    (gathered * torch.arange(16.0)).sum().backward()
    assert t.grad.on_rank(1).tolist() == [16, 20, 24, 28]


def test_tensors_without_values_have_the_shapes_of_the_results() -> None:
    name = dist.group.WORLD.group_name
    t = torch.empty(4, 2, device="meta")
    gathered = torch.ops._c10d_functional.all_gather_into_tensor(t, 4, name)
    assert gathered.shape == (16, 2) and gathered.device.type == "meta"
    piece = torch.ops._c10d_functional.reduce_scatter_tensor(t, "sum", 4, name)
    assert piece.shape == (1, 2) and ranks(piece) == ["0-3"]
    dist.all_reduce(t)


def test_objects_of_torch_that_need_collectives_work_on_top() -> None:
    t = distinct(2)
    result = funcol.all_reduce(t, "sum", dist.group.WORLD)
    assert (result + 1).on_rank(2).tolist() == [7, 7]
    assert t.on_rank(2).tolist() == [2, 2]


def test_report_counts_launches_by_kind_and_group() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    for _ in range(3):
        dist.all_reduce(distinct(8), group=mesh.get_group("dp"))
    dist.barrier()
    rows = {(row["group"], row["kind"]): row for row in _C.report()}
    assert rows.keys() == {("mesh_dp", "all_reduce"), ("world", "barrier")}
    row = rows["mesh_dp", "all_reduce"]
    assert (row["count"], row["bytes"], row["group_size"], row["num_groups"]) == (3, 96, 2, 2)
    assert row["rank_launches"] == 12
    _C.reset_report()
    assert _C.report() == []


def test_report_counts_a_coalesced_launch_once() -> None:
    dist.all_reduce_coalesced([distinct(2), distinct(3)])
    (row,) = _C.report()
    assert (row["count"], row["bytes"]) == (1, 20)
