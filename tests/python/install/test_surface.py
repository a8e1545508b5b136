"""What tests of other libraries touch of PyTorch's classes, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from polyrank.torch_features import simulator_patches_get_rank
from torch.distributed import _local_tensor
from torch.distributed._functional_collectives import all_reduce
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

WORLD_SIZE = 4


@pytest.fixture(autouse=True)
def _world(installed: None) -> Iterator[None]:
    dist.init_process_group("fake", rank=0, world_size=WORLD_SIZE, store=FakeStore())
    yield
    dist.destroy_process_group()


@pytest.fixture
def mode() -> Iterator[polyrank.LocalTensorMode]:
    with _local_tensor.LocalTensorMode(WORLD_SIZE) as mode:
        yield mode


def test_local_tensors_is_a_live_mapping(mode: polyrank.LocalTensorMode) -> None:
    with mode.disable():
        t = _local_tensor.LocalTensor({rank: torch.full((2,), float(rank)) for rank in range(4)})
        minus_one = torch.full((2,), -1.0)
    assert isinstance(t, polyrank.LocalTensor)
    assert sorted(t._local_tensors) == [0, 1, 2, 3]
    assert t._ranks == frozenset(range(4))
    t._local_tensors[1].mul_(10)
    t._local_tensors[2] = minus_one
    assert [(t + 1).on_rank(rank)[0].item() for rank in range(4)] == [1, 11, 0, 4]
    assert t._local_tensor_3.tolist() == [3, 3]
    with pytest.raises(AttributeError, match="rank 7"):
        _ = t._local_tensor_7


def test_writing_to_one_rank_splits_that_rank_off_only(mode: polyrank.LocalTensorMode) -> None:
    t = torch.zeros(2)
    t._local_tensors[1].add_(1)
    assert [len(cohort.ranks) for cohort in t.cohorts()] == [3, 1]
    assert [t.on_rank(rank)[0].item() for rank in range(4)] == [0, 1, 0, 0]


def test_flatten_and_unflatten_give_the_same_tensor(mode: polyrank.LocalTensorMode) -> None:
    t = polyrank.rank_map(lambda rank: torch.arange(3) * rank)
    names, context = t.__tensor_flatten__()
    assert names == [f"_local_tensor_{rank}" for rank in range(4)]
    inner = {name: getattr(t, name) for name in names}
    again = type(t).__tensor_unflatten__(inner, context, t.shape, t.stride())
    assert isinstance(again, polyrank.LocalTensor)
    assert (again == t).all().reconcile().item()


def test_sizes_follow_what_one_ranks_tensor_becomes(mode: polyrank.LocalTensorMode) -> None:
    t = polyrank.rank_map(lambda rank: torch.zeros(2))
    with mode.disable():
        t._local_tensors[3] = torch.zeros(5)
    t._sync_meta()
    assert t.shape[0].node._local_ints == {0: 2, 1: 2, 2: 2, 3: 5}
    assert t._size[0].node._local_ints == {0: 2, 1: 2, 2: 2, 3: 5}


def test_equal_local_tensors_gives_what_ranks_agree_on(mode: polyrank.LocalTensorMode) -> None:
    assert torch.equal(torch.ones(2)._equal_local_tensors(), torch.ones(2).reconcile())
    same_shape = polyrank.rank_map(lambda rank: torch.full((2,), rank))
    assert same_shape._equal_local_tensors() == torch.Size([2])
    assert polyrank.rank_map(lambda rank: torch.ones(rank + 1))._equal_local_tensors() is None


def test_get_rank_is_this_processs_unless_the_simulator_replaces_it(
    mode: polyrank.LocalTensorMode,
) -> None:
    own = dist.get_rank()
    if simulator_patches_get_rank():
        assert own.node._local_ints == {r: r for r in range(4)}  # type: ignore[attr-defined]
    else:
        assert own == 0
    assert init_device_mesh("cpu", (4,)).get_rank().node._local_ints == {r: r for r in range(4)}


def test_device_mesh_can_be_unpatched(mode: polyrank.LocalTensorMode) -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    mode._unpatch_device_mesh()
    assert mesh.get_coordinate() == (0, 0)
    mode._patch_device_mesh()
    assert mesh.get_coordinate()[1].node._local_ints == {0: 0, 1: 1, 2: 0, 3: 1}


def test_random_functions_can_be_unpatched(mode: polyrank.LocalTensorMode) -> None:
    torch.manual_seed(3)
    mode._unpatch_random_functions()
    torch.manual_seed(5)  # of the process alone
    mode._patch_random_functions()
    assert torch.initial_seed() == 3
    torch.manual_seed(torch.SymInt(_local_tensor.LocalIntNode({r: r for r in range(4)})))
    assert torch.initial_seed().node._local_ints == {r: r for r in range(4)}


def test_local_device_mesh_answers_in_a_mode_only() -> None:
    mesh = init_device_mesh("cpu", (4,))
    ours = _local_tensor._LocalDeviceMesh
    with pytest.raises(polyrank.UsageError, match="LocalTensorMode"):
        ours.get_coordinate(mesh)
    with _local_tensor.LocalTensorMode(WORLD_SIZE):
        ranks = {rank: rank for rank in range(4)}
        assert ours.get_coordinate(mesh)[0].node._local_ints == ranks
        assert ours._sym_get_coordinate(mesh, 0).node._local_ints == ranks
        assert ours.get_rank(mesh).node._local_ints == ranks
        assert ours.get_local_rank(mesh).node._local_ints == ranks
        assert ours._is_current_rank_part_of_mesh(mesh)


def test_modes_are_listed_innermost_last(mode: polyrank.LocalTensorMode) -> None:
    assert _local_tensor.get_local_tensor_mode_list() == [mode]
    with _local_tensor.LocalTensorMode(2) as inner:
        assert _local_tensor.get_local_tensor_mode_list() == [mode, inner]
        assert _local_tensor.local_tensor_mode() is inner
    with _local_tensor.maybe_disable_local_tensor_mode():
        assert _local_tensor.enabled_local_tensor_mode() is None
        assert mode._disable


# --- Random states ------------------------------------------------------------------------------


def test_rank_states_can_be_read_and_written(mode: polyrank.LocalTensorMode) -> None:
    states = mode._per_rank_rng_states
    assert sorted(states) == [0, 1, 2, 3]
    assert len(torch.rand(3).cohorts()) == 1
    other = torch.Generator().manual_seed(7)
    states[2] = (other.get_state(), {})
    drawn = torch.rand(3)
    assert torch.equal(drawn.on_rank(2), torch.rand(3, generator=other).reconcile())
    assert torch.equal(drawn.on_rank(0), drawn.on_rank(3))
    assert not torch.equal(drawn.on_rank(0), drawn.on_rank(2))
    assert torch.equal(mode._any_local_rng_state()[0], states[0][0])


def test_a_device_handle_reads_and_sets_all_ranks(mode: polyrank.LocalTensorMode) -> None:
    handle = _local_tensor._LocalDeviceHandle(torch.random, "cpu")
    before = handle.get_rng_state()
    first = torch.rand(3)
    handle.set_rng_state(before)
    assert (torch.rand(3) == first).all().reconcile().item()
    assert handle.initial_seed() == torch.initial_seed()


def test_seeds_differ_by_rank(mode: polyrank.LocalTensorMode) -> None:
    seeds = torch.SymInt(_local_tensor.LocalIntNode({rank: 5 + rank for rank in range(4)}))
    _local_tensor._LocalRandom.torch_manual_seed(seeds)
    assert _local_tensor._LocalRandom.torch_initial_seed().node._local_ints[3] == 8
    assert len(torch.rand(3).cohorts()) == 4


def test_the_processs_own_state_is_plain_in_a_mode(mode: polyrank.LocalTensorMode) -> None:
    cpu, of_devices = _local_tensor._get_rng_state()
    assert type(cpu) is torch.Tensor
    _local_tensor._set_rng_state(cpu, of_devices)
    assert torch.equal(_local_tensor._get_rng_state()[0], cpu)


# --- Functions over ranks -----------------------------------------------------------------------


def test_functions_decorated_before_install_run_by_cohort(mode: polyrank.LocalTensorMode) -> None:
    from torch.distributed.tensor.placement_types import Shard

    calls = _C.call_counts()
    size, offset = Shard.local_shard_size_and_offset(
        10, 4, torch.SymInt(_local_tensor.LocalIntNode({rank: rank for rank in range(4)}))
    )
    assert size.node._local_ints == {0: 3, 1: 3, 2: 3, 3: 1}
    assert offset.node._local_ints == {0: 0, 1: 3, 2: 6, 3: 9}
    assert calls == _C.call_counts()


def test_for_each_rank_takes_operators_and_functions(mode: polyrank.LocalTensorMode) -> None:
    t = polyrank.rank_map(lambda rank: torch.full((2,), rank))
    run = _local_tensor._for_each_rank_run_func
    assert run(torch.ops.aten.neg.default, mode.ranks, (t,), {}).on_rank(3).tolist() == [-3, -3]
    assert run(lambda x: x.sum(), mode.ranks, (t,), {}).on_rank(2).item() == 4


def test_collectives_of_the_c10d_module(mode: polyrank.LocalTensorMode) -> None:
    group = dist.group.WORLD
    t = polyrank.rank_map(lambda rank: torch.full((4,), float(rank)))
    c10d = _local_tensor._c10d
    gathered = c10d._local_functional_all_gather_into_tensor(t, 4, group.group_name)
    assert gathered.on_rank(1).tolist() == [float(rank) for rank in range(4) for _ in range(4)]
    assert len(gathered.cohorts()) == 1
    scattered = c10d._local_functional_reduce_scatter_tensor(t, "sum", 4, group)
    assert scattered.on_rank(2).tolist() == [6]
    with pytest.raises(polyrank.UsageError, match="LocalTensors"), mode.disable():
        c10d._local_functional_all_gather_into_tensor(torch.ones(2), 4, group.group_name)


def test_the_result_of_a_functional_collective_can_be_waited_for(
    mode: polyrank.LocalTensorMode,
) -> None:
    t = polyrank.rank_map(lambda rank: torch.full((2,), float(rank)))
    result: Any = all_reduce(t, "sum", dist.group.WORLD)
    assert result.wait().on_rank(1).tolist() == [6, 6]


def test_a_group_of_some_ranks_stands_for_its_family(mode: polyrank.LocalTensorMode) -> None:
    t = polyrank.rank_map(lambda rank: torch.tensor([float(rank)]))
    dist.all_reduce(t, group=dist.new_group([0, 1]))
    assert [t.on_rank(rank).item() for rank in range(4)] == [1, 1, 5, 5]
