"""A DeviceMesh's answers, which differ between ranks, while a mode is active."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.lockstep_world.groups.process_groups import own_group_ranks
from polyrank.lockstep_world.in_lockstep import with_mode
from polyrank.numbers.rank_dependent_numbers import rank_dependent_int
from polyrank.replacing.code_of import calling_file, is_of_library
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS", "meshes_of_family"]

# By the mesh's identity: a mesh's own equality compares contents, and it is asked for its
# coordinate for each placement of each DTensor.
_coordinates: dict[int, tuple[weakref.ref[DeviceMesh], dict[frozenset[int], tuple[Any, ...]]]] = {}


def _mesh_coordinate(mode: Any, mesh: DeviceMesh) -> tuple[int | torch.SymInt, ...]:
    """Each rank's coordinate in the mesh like `mesh` that it belongs to, one int per mesh dim."""
    return _place_in_family(mode, mesh)[1:]


def _make_mesh(original: Callable[[DeviceMesh], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The property `mesh`: each rank's own, where the program asks."""

    @functools.wraps(original)
    def ranks_of_mesh(mesh: DeviceMesh) -> torch.Tensor:
        mode = enabled_local_tensor_mode()
        if (
            mode is None
            or is_of_library(calling_file(2))
            or mesh._layout.numel() == mesh._rank_map.numel()
        ):
            return original(mesh)
        return meshes_of_family(mesh)[_place_in_family(mode, mesh)[0]]

    return ranks_of_mesh


def _place_in_family(mode: Any, mesh: DeviceMesh) -> tuple[int | torch.SymInt, ...]:
    """Which mesh of those like `mesh` each rank belongs to, and its coordinate there."""
    key = id(mesh)
    entry = _coordinates.get(key)
    if entry is None:
        entry = (weakref.ref(mesh, lambda _: _coordinates.pop(key, None)), {})
        _coordinates[key] = entry
    of_ranks = entry[1]
    if mode.ranks not in of_ranks:
        with mode.disable():
            of_ranks[mode.ranks] = _make_mesh_coordinate(mesh, mode.ranks)
    return of_ranks[mode.ranks]


def meshes_of_family(mesh: DeviceMesh) -> torch.Tensor:
    """All meshes like this one, (meshes, *its shape): a sub-mesh is one rank's slice of its root."""
    return mesh._layout.remap_to_tensor(mesh._rank_map.clone())


def _make_mesh_coordinate(
    mesh: DeviceMesh, ranks: frozenset[int]
) -> tuple[int | torch.SymInt, ...]:
    with unset_fake_temporarily():
        stacked = meshes_of_family(mesh)
        members = stacked.flatten().tolist()
    indices = itertools.product(*map(range, stacked.shape))
    of_rank = dict(zip(members, indices, strict=True))
    missing = sorted(ranks - set(of_rank))
    if missing:
        raise UsageError(
            f"ranks {_C.RankSet(missing)} are not part of {mesh}; "
            "a coordinate can only be asked for where all ranks of the mode have one"
        )
    return tuple(
        rank_dependent_int({rank: of_rank[rank][dim] for rank in ranks})
        for dim in range(stacked.ndim)
    )


def _get_mesh_rank(mode: Any, mesh: DeviceMesh) -> int | torch.SymInt:
    return _C.own_ranks(mode.rank_set)


def _get_local_rank(
    mode: Any, mesh: DeviceMesh, mesh_dim: int | str | None = None
) -> int | torch.SymInt:
    """Each rank's group rank on a dimension, which is its coordinate unless the mesh's order of
    ranks is another than theirs: a mesh's groups are sorted.
    """
    if mesh_dim is None:
        if mesh.ndim > 1:
            raise RuntimeError(
                f"this DeviceMesh has {mesh.ndim} dimensions: say which with `mesh_dim`"
            )
        mesh_dim = 0
    if isinstance(mesh_dim, str):
        names = mesh.mesh_dim_names or ()
        if mesh_dim not in names:
            raise UsageError(f"this DeviceMesh has no dimension {mesh_dim!r}; it has {names}")
        mesh_dim = names.index(mesh_dim)
    return own_group_ranks(mesh.get_group(mesh_dim), mode.rank_set)


def _is_current_rank_part_of_mesh(mode: Any, mesh: DeviceMesh) -> bool:
    return _mesh_coordinate(mode, mesh) is not None


def _sym_get_coordinate(mode: Any, mesh: DeviceMesh, index: int) -> int | torch.SymInt:
    return _mesh_coordinate(mode, mesh)[index]


_MESH = "torch.distributed.device_mesh:DeviceMesh"
_WHY = "a mesh of one process knows one rank's coordinate"

ROWS = (
    Row(_MESH, "mesh", _make_mesh, _WHY),
    *(
        Row(_MESH, name, with_mode(own), _WHY)
        for name, own in (
            ("get_coordinate", _mesh_coordinate),
            ("get_local_rank", _get_local_rank),
            ("get_rank", _get_mesh_rank),
            ("_is_current_rank_part_of_mesh", _is_current_rank_part_of_mesh),
            ("_sym_get_coordinate", _sym_get_coordinate),
        )
    ),
)
