"""Groups and meshes of a fake world are those that PyTorch's fake process group has."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.torch_features import OF_NO_PART
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

NAMES = ("pp", "dp", "cp", "tp")
SHAPES = ((2, 2, 1, 2), (1, 3, 2, 2), (2, 3, 2, 4))


@contextlib.contextmanager
def pytorchs_world(world_size: int, rank: int) -> Iterator[None]:
    dist.init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def group_facts(group: Any) -> tuple[Any, ...]:
    if not isinstance(group, dist.ProcessGroup):
        return (group,)
    ranks = dist.get_process_group_ranks(group)
    return (
        group.group_name,
        group.group_desc,
        group.rank(),
        group.size(),
        dist.get_rank(group),
        ranks,
        [dist.get_global_rank(group, i) for i in range(len(ranks))],
        [dist.get_group_rank(group, rank) for rank in ranks],
    )


def mesh_facts(mesh: DeviceMesh) -> tuple[Any, ...]:
    return (
        mesh.mesh.tolist(),
        mesh.get_coordinate(),
        mesh.get_rank(),
        [mesh.get_local_rank(name) for name in mesh.mesh_dim_names or ()],
        [group_facts(group) for group in mesh.get_all_groups()],
        repr(mesh),
    )


def all_facts(shape: tuple[int, ...]) -> list[Any]:
    size = torch.Size(shape).numel()
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
    flattened = mesh["dp", "cp"]._flatten("dp_cp")
    apart = mesh["pp", "cp"]._flatten("pp_cp")
    unflattened = init_device_mesh("cpu", (size,), mesh_dim_names=("world",))._unflatten(
        0, (2, size // 2), ("a", "b")
    )
    by_tensor = DeviceMesh("cpu", torch.arange(size).view(2, -1), mesh_dim_names=("x", "y"))
    turned = DeviceMesh("cpu", torch.arange(size).flip(0).view(2, -1), mesh_dim_names=("x", "y"))
    meshes = [mesh, flattened, apart, mesh["dp", "tp"], mesh["pp"], unflattened, by_tensor, turned]
    groups = [
        dist.group.WORLD,
        dist.new_group([0, 2, 1]),
        dist.new_group([3, 1], sort_ranks=False),
        dist.new_group(),
        dist.new_subgroups(2)[0],
    ]
    equal = [
        mesh == init_device_mesh("cpu", shape, mesh_dim_names=NAMES),
        hash(mesh) == hash(mesh["dp", "tp"]),
        mesh["dp"] == mesh["dp"],
        mesh["dp"] == mesh["tp"],
    ]
    return [*map(mesh_facts, meshes), *map(group_facts, groups), equal]


@pytest.mark.parametrize("shape", SHAPES)
def test_names_ranks_and_coordinates_are_pytorchs(shape: tuple[int, ...]) -> None:
    size = torch.Size(shape).numel()
    for rank in {0, 1, size // 2, size - 1}:
        with pytorchs_world(size, rank):
            expected = all_facts(shape)
        with polyrank.fake_world(size, rank):
            assert all_facts(shape) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rank_that_is_become_is_like_one_that_was_started(shape: tuple[int, ...]) -> None:
    size = torch.Size(shape).numel()

    def meshes_of(mesh: DeviceMesh) -> list[DeviceMesh]:
        flattened = mesh["pp", "cp"]._flatten("pp_cp")
        return [mesh, mesh["dp", "tp"], mesh["pp"], flattened]

    def facts_of(meshes: list[DeviceMesh]) -> list[Any]:
        # Names are those that the groups were made with.
        return [(facts[:4], [group[1:] for group in facts[4]]) for facts in map(mesh_facts, meshes)]

    with polyrank.fake_world(size, 0) as world:
        meshes = meshes_of(init_device_mesh("cpu", shape, mesh_dim_names=NAMES))
        became = {rank: facts_of(meshes) for rank in world.as_ranks([size - 1, 1, 0])}
        assert (world.rank, dist.get_rank()) == (0, 0)
    for rank, facts in became.items():
        with polyrank.fake_world(size, rank):
            started = meshes_of(init_device_mesh("cpu", shape, mesh_dim_names=NAMES))
            assert facts_of(started) == facts


def test_a_collective_is_the_current_ranks() -> None:
    with polyrank.fake_world(8, 0) as world:
        tp = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp")).get_group("tp")
        pieces = []
        for _ in world.as_ranks([1, 6]):
            piece = torch.zeros(1)
            dist.reduce_scatter_tensor(piece, torch.arange(4.0), group=tp)
            pieces.append(piece.item())
        assert pieces == [4.0, 8.0]


def test_a_rank_outside_of_a_listed_group_may_not_use_it() -> None:
    with polyrank.fake_world(8, 0) as world:
        group = dist.new_group([0, 3])
        for _ in world.as_ranks([5]):
            assert group.rank() == -1
            with pytest.raises(polyrank.CollectiveError, match="rank 5: all_reduce by a rank"):
                group.allreduce([torch.ones(1)])
        with pytest.raises(polyrank.UsageError, match="no rank 8"):
            list(world.as_ranks([8]))
        assert world.rank == 0


def test_split_group_and_merge() -> None:
    with polyrank.fake_world(8, 6):
        group = dist.split_group(split_ranks=[[0, 1], [5, 6, 7]], group_desc="half")
        assert group is not None
        assert group_facts(group)[1:6] == ("half", 1, 3, 1, [5, 6, 7])
        inner = dist.split_group(group, [[1, 2]])
        assert dist.get_process_group_ranks(inner) == [6, 7]
        assert dist.split_group(group, [[0, 2]]) == OF_NO_PART
        with pytest.raises(ValueError, match="cannot be None or empty"):
            dist.split_group(split_ranks=[])
        world = dist.group.WORLD
        assert world is not None
        split = world.split_group([4, 6], group_name="pair")
        assert (split.rank(), split.size()) == (1, 2)
        tensor = torch.ones(2)
        split.allreduce([tensor]).wait()
        assert tensor.tolist() == [2, 2]


@pytest.mark.parametrize("world_size", [4096, 1_048_576])
def test_the_last_of_many_ranks(world_size: int) -> None:
    with polyrank.fake_world(world_size, world_size - 1):
        shape = (4, world_size // 256, 8, 8)
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
        assert mesh.get_coordinate() == (3, shape[1] - 1, 7, 7)
        flattened = mesh["dp", "cp"]._flatten("dp_cp")
        assert flattened.get_local_rank() == flattened.size() - 1
        group = mesh.get_group("dp")
        assert dist.get_global_rank(group, 0) == world_size - 1 - (shape[1] - 1) * 64
        tensor = torch.ones(2)
        dist.all_reduce(tensor, group=group)
        assert tensor.tolist() == [shape[1]] * 2


def test_a_mesh_is_saved_and_loaded() -> None:
    with polyrank.fake_world(8, rank=3):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        file = io.BytesIO()
        torch.save(mesh, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        assert loaded == mesh and loaded.mesh_dim_names == ("dp", "tp")
