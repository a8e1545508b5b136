"""What PyTorch remembers of a mesh is not taken for another rank's, or another world's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import polyrank
import pytest
import torch
from polyrank import _C
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

PLACEMENTS = list(itertools.product((Replicate(), Shard(0), Shard(1)), repeat=2))
Shapes = list[tuple[int, ...]]


def moved(mesh: DeviceMesh) -> list[torch.Tensor]:
    """The shards of a rank, after each way to move data over the mesh."""
    values = torch.arange(70.0).view(10, 7)
    local = []
    for source, target in itertools.product(PLACEMENTS, PLACEMENTS):
        tensor = distribute_tensor(values, mesh, source).redistribute(mesh, target)
        local.append(tensor.to_local())
        tensor.full_tensor()
    return local


def shapes(local: list[torch.Tensor]) -> Shapes:
    return [tuple(tensor.shape) for tensor in local]


@pytest.fixture(scope="module")
def expected() -> list[Shapes]:
    """By rank."""
    return polyrank.run_ranks(lambda: shapes(moved(init_device_mesh("cpu", (2, 2)))), 4)


def test_worlds_of_other_ranks(expected: list[Shapes]) -> None:
    for rank in range(4):
        with polyrank.fake_world(4, rank=rank):
            assert shapes(moved(init_device_mesh("cpu", (2, 2)))) == expected[rank]


def test_a_world_that_becomes_other_ranks(expected: list[Shapes]) -> None:
    with polyrank.fake_world(4, rank=0) as world:
        kept = init_device_mesh("cpu", (2, 2))
        for _ in range(2):
            for rank in world.as_ranks(range(4)):
                assert shapes(moved(kept)) == expected[rank]
                assert shapes(moved(init_device_mesh("cpu", (2, 2)))) == expected[rank]


@pytest.fixture
def installed() -> Iterator[None]:
    polyrank.install()
    yield
    polyrank.uninstall()


@pytest.mark.usefixtures("installed")
def test_lockstep_before_and_after(expected: list[Shapes]) -> None:
    def in_lockstep() -> list[Shapes]:
        with polyrank.lockstep(4):
            local = moved(init_device_mesh("cpu", (2, 2)))
            return [shapes([_C.on_rank(tensor, rank) for tensor in local]) for rank in range(4)]

    assert in_lockstep() == expected
    with polyrank.fake_world(4, rank=3):
        assert shapes(moved(init_device_mesh("cpu", (2, 2)))) == expected[3]
    assert in_lockstep() == expected
