"""No cohort is kept apart that is known to be equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import distinct, mixed, shared
from oracle.rank_by_rank import local, local_int, num_cohorts, ranks_in_cohorts
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD, DP, TP = 8, 2, 4


def world_of_8(test: Callable[[], None]) -> Callable[[], None]:
    """Runs a test in a lockstep world of 8 ranks."""
    test = pytest.mark.usefixtures("lockstep")(test)
    return pytest.mark.parametrize("lockstep", [WORLD], indirect=True)(test)


def tp_sharded(*shape: int) -> Tensor:
    """A weight sharded over tp and replicated over dp: one cohort for each tp rank."""
    with polyrank.maybe_disable_local_tensor_mode():
        shards = [torch.full(shape, float(i)) for i in range(TP)]
        return polyrank.LocalTensor({rank: shards[rank % TP] for rank in range(WORLD)})


def dp_sharded(*shape: int) -> Tensor:
    """A batch sharded over dp: one cohort for each dp rank."""
    with polyrank.maybe_disable_local_tensor_mode():
        shards = [torch.full(shape, float(i)) for i in range(DP)]
        return polyrank.LocalTensor({rank: shards[rank // TP] for rank in range(WORLD)})


def test_the_same_tensor_object_is_one_cohort() -> None:
    one, other = torch.ones(2), torch.ones(2)
    x = local({0: one, 1: other, 2: one, 3: one})
    assert ranks_in_cohorts(x) == [[0, 2, 3], [1]]


def test_cohorts_come_in_the_order_of_their_lowest_rank() -> None:
    a, b = torch.ones(2), torch.ones(2)
    assert ranks_in_cohorts(local({5: a, 3: b, 1: a, 0: b})) == [[0, 3], [1, 5]]


def test_cohort_ranks_print_as_ranges() -> None:
    one, other = torch.ones(2), torch.ones(2)
    x = local({rank: other if rank == 4 else one for rank in range(10)})
    assert str(x.cohorts()[0].ranks) == "0-3,5-9"
    assert str(x.cohorts()[1].ranks) == "4"
    assert list(x.cohorts()[1].ranks) == [4]


def test_results_have_the_common_refinement() -> None:
    halves = [torch.ones(2), torch.ones(2)]
    x = mixed(2).on_all_ranks()
    y = local({rank: halves[rank // 2] for rank in range(4)})
    assert ranks_in_cohorts(x + x) == [[0, 2], [1, 3]]
    assert ranks_in_cohorts(y + y) == [[0, 1], [2, 3]]
    assert num_cohorts(x + y) == 4
    assert num_cohorts(x * shared(2).on_all_ranks()) == 2


def test_results_that_do_not_depend_on_values_are_one_cohort() -> None:
    x = distinct(3).on_all_ranks()
    for like in (
        torch.zeros_like(x),
        torch.ones_like(x),
        x.new_full((2,), 3),
        torch.zeros(x.shape),
    ):
        if isinstance(like, polyrank.LocalTensor):
            assert num_cohorts(like) == 1


def test_overwriting_makes_one_cohort_again() -> None:
    x = distinct(3).on_all_ranks()
    x.zero_()
    assert num_cohorts(x) == 1
    y = distinct(3).on_all_ranks()
    y.copy_(shared(3).on_all_ranks())
    assert num_cohorts(y) == 1
    z = distinct(3).on_all_ranks()
    z.fill_(2)
    assert num_cohorts(z) == 1


def test_overwriting_a_part_keeps_cohorts() -> None:
    x = distinct(3).on_all_ranks()
    x[1:].zero_()
    assert num_cohorts(x) == 4


def test_overwriting_the_only_view_of_a_part_is_seen_by_the_base() -> None:
    x = distinct(4).on_all_ranks()
    view = x[1:3]
    x.zero_()
    assert num_cohorts(view) == num_cohorts(x)
    assert [view.on_rank(r).tolist() for r in range(4)] == [[0, 0]] * 4


def test_ints_that_agree_again_stay_plain() -> None:
    with polyrank.LocalTensorMode(4):
        i = local_int((1, 2, 1, 2))
        x = torch.ones(4)[:i]
        assert ranks_in_cohorts(x) == [[0, 2], [1, 3]]
        assert num_cohorts(torch.zeros(i - i + 3)) == 1


@world_of_8
def test_replicated_weights_stay_one_cohort() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    x = torch.rand(3, 4)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for parameter in model.parameters():
        assert num_cohorts(parameter) == 1
        assert num_cohorts(parameter.grad) == 1
    for state in optimizer.state.values():
        assert num_cohorts(state["exp_avg"]) == 1


@world_of_8
def test_tp_sharded_weights_are_tp_cohorts() -> None:
    weight = tp_sharded(4, 3).requires_grad_()
    x = torch.rand(2, 4)
    loss = (x @ weight).relu().sum()
    loss.backward()
    for tensor in (weight, loss, weight.grad):
        assert num_cohorts(tensor) == TP
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    optimizer.step()
    assert ranks_in_cohorts(weight) == [[r, r + TP] for r in range(TP)]


@world_of_8
def test_dp_batch_on_tp_weights_is_one_cohort_a_rank() -> None:
    out = dp_sharded(2, 4) @ tp_sharded(4, 3)
    assert num_cohorts(out) == WORLD


@world_of_8
def test_slicing_by_the_rank_in_a_mesh_dimension() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    weight = torch.rand(8, 4)
    tp_rank = mesh.get_local_rank("tp")
    shard = weight[tp_rank * 2 : (tp_rank + 1) * 2].clone()
    assert ranks_in_cohorts(shard) == [[r, r + TP] for r in range(TP)]


@world_of_8
def test_all_reduce_of_the_world_gives_one_cohort() -> None:
    x = local(lambda rank: torch.full((2,), float(rank)), WORLD)
    dist.all_reduce(x)
    assert num_cohorts(x) == 1
    assert x.on_rank(3).tolist() == [28, 28]


@world_of_8
def test_all_reduce_over_a_mesh_dimension() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    x = local(lambda rank: torch.full((2,), float(rank)), WORLD)
    dist.all_reduce(x, group=mesh.get_group("tp"))
    assert ranks_in_cohorts(x) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    y = tp_sharded(3)
    dist.all_reduce(y, group=mesh.get_group("dp"))
    assert ranks_in_cohorts(y) == [[r, r + TP] for r in range(TP)]
    z = dp_sharded(3) @ torch.ones(3)
    dist.all_reduce(z, group=mesh.get_group("dp"))
    assert num_cohorts(z) == 1


@world_of_8
def test_all_reduce_of_groups_with_the_same_cohorts_gives_one() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    x = tp_sharded(3)
    dist.all_reduce(x, group=mesh.get_group("tp"))  # both groups hold shards 0 to 3
    assert num_cohorts(x) == 1


@world_of_8
def test_all_gather_gives_one_cohort_a_group() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    x = local(lambda rank: torch.full((2,), float(rank)), WORLD)
    whole = torch.empty(2 * TP)
    dist.all_gather_into_tensor(whole, x, group=mesh.get_group("tp"))
    assert ranks_in_cohorts(whole) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    parts = [torch.empty(2) for _ in range(WORLD)]
    dist.all_gather(parts, x)
    assert [num_cohorts(part) for part in parts] == [1] * WORLD


@world_of_8
def test_reduce_scatter_gives_one_cohort_a_member() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    x, shard = tp_sharded(8), torch.empty(2)
    dist.reduce_scatter_tensor(shard, x, group=mesh.get_group("tp"))
    assert ranks_in_cohorts(shard) == [[r, r + TP] for r in range(TP)]


@world_of_8
def test_broadcast_gives_one_cohort_a_group() -> None:
    x = local(lambda rank: torch.full((2,), float(rank)), WORLD)
    dist.broadcast(x, src=3)
    assert num_cohorts(x) == 1
    assert x.on_rank(6).tolist() == [3, 3]


@world_of_8
def test_dropout_with_equal_and_with_own_seeds() -> None:
    x = torch.ones(64)
    torch.manual_seed(1)
    assert num_cohorts(functional.dropout(x, 0.5)) == 1
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    torch.manual_seed(mesh.get_local_rank("tp"))
    assert num_cohorts(functional.dropout(x, 0.5)) == TP
    torch.manual_seed(dist.get_rank())
    assert num_cohorts(functional.dropout(x, 0.5)) == WORLD


@world_of_8
def test_megatron_block() -> None:
    mesh = init_device_mesh("cpu", (DP, TP), mesh_dim_names=("dp", "tp"))
    up, down = tp_sharded(4, 2), tp_sharded(2, 4)
    x = dp_sharded(3, 4)
    out = functional.gelu(x @ up) @ down
    assert num_cohorts(out) == WORLD
    dist.all_reduce(out, group=mesh.get_group("tp"))
    assert num_cohorts(out) == DP
    out = functional.layer_norm(out + x, (4,))
    assert num_cohorts(out) == DP
    loss = out.pow(2).mean()
    dist.all_reduce(loss, group=mesh.get_group("dp"))
    assert num_cohorts(loss) == 1
    assert type(loss.item()) is float


def address_of(tensor: Tensor) -> int:
    """Where the memory of a tensor's storage begins; read-only tensors have no data_ptr()."""
    address: int = torch._C._data_address(tensor)
    return address


def test_views_copy_nothing() -> None:
    x = mixed(1000).on_all_ranks()
    view: Any = x.view(10, 100)[2:5].t()
    for before, after in zip(x.cohorts(), view.cohorts(), strict=True):
        assert address_of(before.tensor) == address_of(after.tensor)


def test_write_that_splits_nothing_copies_nothing() -> None:
    x = mixed(1000).on_all_ranks()
    before = [address_of(cohort.tensor) for cohort in x.cohorts()]
    x.add_(shared(1000).on_all_ranks())
    x.mul_(mixed(1000, seed=1).on_all_ranks())
    assert before == [address_of(cohort.tensor) for cohort in x.cohorts()]


def test_a_split_keeps_one_of_the_memories() -> None:
    x = shared(1000).on_all_ranks()
    before = address_of(x.cohorts()[0].tensor)
    x.add_(distinct(1000).on_all_ranks())
    after = [address_of(cohort.tensor) for cohort in x.cohorts()]
    assert len(set(after)) == 4
    assert before in after
