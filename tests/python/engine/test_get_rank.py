"""get_rank() and mesh coordinates differ by rank for user code; torch's own code goes on working."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.rank_by_rank import assert_each_rank, local_int, value_on_rank
from torch.distributed.device_mesh import init_device_mesh

if TYPE_CHECKING:
    from collections.abc import Callable


def rank_values(value: object, world_size: int) -> list[object]:
    return [value_on_rank(value, rank) for rank in range(world_size)]


@pytest.mark.usefixtures("lockstep")
def test_get_rank_is_rank_dependent() -> None:
    rank = dist.get_rank()
    assert isinstance(rank, torch.SymInt)
    assert rank_values(rank, 4) == [0, 1, 2, 3]
    assert dist.get_world_size() == 4
    assert type(dist.get_world_size()) is int


@pytest.mark.usefixtures("lockstep")
def test_get_rank_in_arithmetic_and_indexing() -> None:
    rank = dist.get_rank()
    x = torch.arange(8)[rank * 2 : (rank + 1) * 2]
    y = torch.ones(2) * rank
    assert_each_rank(x, {r: torch.tensor([2 * r, 2 * r + 1]) for r in range(4)})
    assert_each_rank(y, {r: torch.full((2,), float(r)) for r in range(4)})


@pytest.mark.usefixtures("lockstep")
def test_get_rank_of_a_group() -> None:
    group = dist.new_group([1, 3])
    assert rank_values(dist.get_rank(group), 4) == [-1, 0, -1, 1]
    assert rank_values(dist.get_rank(dist.group.WORLD), 4) == [0, 1, 2, 3]


@pytest.mark.usefixtures("lockstep")
def test_get_rank_imported_by_name() -> None:
    namespace: dict[str, Callable[[], object]] = {}
    exec("from torch.distributed import get_rank", namespace)
    get_rank = namespace["get_rank"]
    assert rank_values(get_rank(), 4) == [0, 1, 2, 3]
    assert rank_values(dist.distributed_c10d.get_rank(), 4) == [0, 1, 2, 3]


def test_get_rank_after_the_mode_and_without_it() -> None:
    with polyrank.lockstep(world_size=4) as mode:
        with mode.disable():
            assert dist.get_rank() == 0
            assert type(dist.get_rank()) is int
        assert isinstance(dist.get_rank(), torch.SymInt)
    assert not dist.is_initialized()


def test_get_rank_as_in_pytorch() -> None:
    with polyrank.lockstep(world_size=4) as outer, outer.disable():
        with polyrank.LocalTensorMode(4, rank_dependent_get_rank=False):
            assert type(dist.get_rank()) is int
            assert dist.get_rank() == 0
        with polyrank.LocalTensorMode(4, rank_dependent_get_rank=True):
            assert isinstance(dist.get_rank(), torch.SymInt)


@pytest.mark.usefixtures("lockstep")
def test_torch_itself_goes_on_asking_for_the_rank() -> None:
    group = dist.new_group([0, 1])
    subgroup, _ = dist.new_subgroups(2)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    assert rank_values(dist.get_world_size(group), 4) == [2, 2, -1, -1]
    assert dist.get_world_size(subgroup) == 2
    assert mesh["tp"].size() == 2
    first, second = dist.get_process_group_ranks(mesh.get_group("dp"))
    assert rank_values(first, 4) == [0, 1, 0, 1]
    assert rank_values(second, 4) == [2, 3, 2, 3]
    dist.barrier()


@pytest.mark.parametrize("lockstep", [8], indirect=True)
@pytest.mark.usefixtures("lockstep")
def test_mesh_coordinates() -> None:
    mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    assert rank_values(mesh.get_rank(), 8) == list(range(8))
    assert rank_values(mesh.get_local_rank("dp"), 8) == [r // 4 for r in range(8)]
    assert rank_values(mesh.get_local_rank("tp"), 8) == [r % 4 for r in range(8)]
    assert rank_values(mesh.get_local_rank(1), 8) == [r % 4 for r in range(8)]
    assert rank_values(mesh["tp"].get_local_rank(), 8) == [r % 4 for r in range(8)]
    coordinate = mesh.get_coordinate()
    assert coordinate is not None
    assert rank_values(coordinate[0], 8) == [r // 4 for r in range(8)]
    assert rank_values(coordinate[1], 8) == [r % 4 for r in range(8)]
    assert rank_values(dist.get_rank(mesh.get_group("tp")), 8) == [r % 4 for r in range(8)]
    assert rank_values(dist.get_rank(mesh.get_group("dp")), 8) == [r // 4 for r in range(8)]


@pytest.mark.usefixtures("lockstep")
def test_vocabulary_parallel_program() -> None:
    # Each rank owns a slice of the vocabulary, by its rank, and masks what others own.
    rank, world_size = dist.get_rank(), dist.get_world_size()
    labels = torch.tensor([0, 3, 5, 7])
    size = 8 // world_size
    first = rank * size
    own = (labels >= first) & (labels < first + size)
    index = torch.where(own, labels - first, 0)
    for r in range(4):
        expected = (torch.tensor([0, 3, 5, 7]) // 2) == r
        assert torch.equal(own.on_rank(r), expected)
        assert index.on_rank(r).max() < 2


def test_rank_as_a_seed(lockstep: polyrank.LocalTensorMode) -> None:
    torch.manual_seed(100 + dist.get_rank())
    drawn = torch.rand(3)
    with lockstep.disable():
        expected = {}
        for rank in range(4):
            expected[rank] = torch.rand(3, generator=torch.Generator().manual_seed(100 + rank))
    assert_each_rank(drawn, expected)


@pytest.mark.usefixtures("lockstep")
def test_rank_dependent_ints_of_users_and_of_get_rank_are_alike() -> None:
    assert rank_values(dist.get_rank() + local_int((1, 1, 0, 0)), 4) == [1, 2, 2, 3]


def test_get_rank_without_a_process_group() -> None:
    with polyrank.LocalTensorMode(4), pytest.raises(ValueError, match="initialized"):
        dist.get_rank()
