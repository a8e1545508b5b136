"""DeviceMesh in a fake world: made without going through all ranks.

PyTorch keeps a tuple of all ranks with each mesh, and makes the groups of all ranks on each
dimension. Where rank i of the mesh is global rank i, both follow from sizes and strides.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch._C._distributed_c10d import _resolve_process_group
from torch.distributed import distributed_c10d
from torch.distributed._mesh_layout import _FlatLayout, _MeshLayout
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.distributed_c10d import GroupName
from torch.utils.weak import WeakIdKeyDictionary

from polyrank.fake.functions import is_on, make_group
from polyrank.fake.world import FakeWorld, current_fake_world
from polyrank.replacing.row import Row
from polyrank.torch_features import MESH_ORDER

__all__ = ["ROWS"]

# Rank maps that were looked at, and whether they are 0, 1, 2, …
_is_identity: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _world() -> FakeWorld | None:
    return current_fake_world() if is_on() else None


def is_identity(rank_map: torch.Tensor) -> bool:
    """Whether the mesh's ranks are the first of the world, in order."""
    known: bool | None = _is_identity.get(rank_map)  # type: ignore[no-untyped-call]
    if known is None:
        with torch.device("cpu"):
            known = torch.equal(rank_map, torch.arange(rank_map.numel(), dtype=rank_map.dtype))
        _is_identity[rank_map] = known
    return known


def _place(rank: int, layout: _FlatLayout) -> int:
    """The coordinate of a rank along a mesh dimension; the last stride varies fastest."""
    place = 0
    for size, stride in zip(layout.shape, layout.stride, strict=True):
        place = place * size + rank // stride % size
    return place


def _coordinate(layout: _MeshLayout, rank: int) -> tuple[int, ...]:
    return tuple(_place(rank, axis) for axis in layout)


def _coordinate_by_search(mesh: weakref.ref[DeviceMesh], rank: int) -> tuple[int, ...] | None:
    found = mesh()
    return None if found is None else found._compute_coordinate_on_dim()


def _takes(world: FakeWorld, backend: str | None) -> bool:
    return backend in (None, "fake") or world.takes_any_backend


def _make_init_one_group(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init_one_process_group(
        sub_layout: _FlatLayout,
        rank_map: torch.Tensor,
        dim_name: str,
        backend_override: Any,
        preserve_rank_order: bool = False,
    ) -> str | None:
        """`DeviceMesh._init_one_process_group`: makes the group that this rank is in."""
        world = _world()
        backend, options = backend_override
        if (
            world is None
            or preserve_rank_order
            or not _takes(world, backend)
            or not is_identity(rank_map)
        ):
            order = (preserve_rank_order,) if MESH_ORDER else ()
            return original(sub_layout, rank_map, dim_name, backend_override, *order)  # type: ignore[no-any-return]
        if sub_layout.numel() == world.size and backend_override == (None, None):
            group = distributed_c10d._get_default_group()
            return group.group_name
        num_ranks = rank_map.numel()
        # Groups are named by number, in the order in which PyTorch makes all of the dimension.
        first_name = distributed_c10d._world.group_count
        others = sub_layout.complement(num_ranks)
        distributed_c10d._world.group_count += others.numel()
        if world.rank >= num_ranks:
            return None
        group = make_group(
            world.fibers(list(zip(sub_layout.shape, sub_layout.stride, strict=True)), num_ranks),
            GroupName(str(first_name + _place(world.rank, others))),
            distributed_c10d._world.pg_map[distributed_c10d._get_default_group()][1],
            options=options,
            group_desc=f"mesh_{dim_name}",
        )
        return group.group_name

    return init_one_process_group


def _layout_and_map(
    mesh: Any, layout: _MeshLayout | None, rank_map: torch.Tensor | None
) -> tuple[_MeshLayout | None, torch.Tensor | None]:
    """A mesh of ranks as the layout and map that DeviceMesh makes of it."""
    if mesh is None or layout is not None or rank_map is not None:
        return layout, rank_map
    with torch.device("cpu"):
        ranks = torch.as_tensor(mesh, dtype=torch.int).cpu().contiguous()
    return _MeshLayout.from_sizes_strides(
        tuple(ranks.size()), tuple(ranks.stride())
    ), ranks.flatten()


def _make_init(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(
        self: DeviceMesh,
        device_type: str,
        mesh: Any = None,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
        backend_override: Any = None,
        preserve_rank_order: bool = False,
        _init_backend: bool = True,
        _rank: int | None = None,
        _layout: _MeshLayout | None = None,
        _rank_map: torch.Tensor | None = None,
        _root_mesh: DeviceMesh | None = None,
    ) -> None:
        world = _world()
        layout, rank_map = _layout_and_map(mesh, _layout, _rank_map) if world else (None, None)
        if (
            world is None
            or _rank is not None
            or preserve_rank_order
            or device_type == "xla"
            or layout is None
            or rank_map is None
            or not _can_be_made(layout, rank_map, backend_override, world)
        ):
            original(
                self,
                device_type,
                mesh,
                mesh_dim_names=mesh_dim_names,
                backend_override=backend_override,
                **({"preserve_rank_order": True} if preserve_rank_order else {}),
                _init_backend=_init_backend,
                _rank=_rank,
                _layout=_layout,
                _rank_map=_rank_map,
                _root_mesh=_root_mesh,
            )
            if world is not None and _rank is None:
                world.add_mesh(self, functools.partial(_coordinate_by_search, weakref.ref(self)))
        else:
            self._device_type = device_type
            self._layout = layout
            self._rank_map = rank_map
            self._mesh_dim_names = tuple(mesh_dim_names) if mesh_dim_names else None
            self._root_mesh = _root_mesh
            self._flatten_rank_map = _flatten_rank_map(rank_map.numel())
            self._thread_id = None
            self._flatten_mapping = {}
            self._pg_registry = {}
            self._hash = None
            for name, value in MESH_ORDER.items():
                setattr(self, f"_{name}", value)
            self._rank = world.rank
            self._coordinate_on_dim = _coordinate(layout, world.rank)
            world.add_mesh(self, functools.partial(_coordinate, layout))
            if _init_backend:
                _init_groups(self, backend_override)

    return init


def _flatten_rank_map(num_ranks: int) -> Any:
    """0, 1, 2, …: as PyTorch's tuple while that costs nothing, since meshes are pickled with it."""
    few = 1 << 16
    return tuple(range(num_ranks)) if num_ranks <= few else range(num_ranks)


def _can_be_made(
    layout: _MeshLayout, rank_map: torch.Tensor, backend_override: Any, world: FakeWorld
) -> bool:
    """Whether the mesh is sound, so that PyTorch would make it, and regular."""
    return (
        rank_map.ndim == 1
        and world.rank < rank_map.numel() <= world.size
        and layout.cosize() <= rank_map.numel()
        and layout.collapse().check_orthogonal()
        and (backend_override is None or len(backend_override) == len(layout))
        and is_identity(rank_map)
    )


def _init_groups(mesh: DeviceMesh, backend_override: Any) -> None:
    override = ((None, None),) * len(mesh._layout) if backend_override is None else backend_override
    names = mesh._init_process_groups(
        mesh._layout, mesh._rank_map, mesh._mesh_dim_names, override, *MESH_ORDER.values()
    )
    mesh._dim_group_names = names
    registry = mesh._get_root_mesh()._pg_registry
    for name in names:
        registry[name] = _resolve_process_group(name)


_MESH = "torch.distributed.device_mesh:DeviceMesh"
_WHY = "goes through all ranks"

ROWS = (
    Row(_MESH, "__init__", _make_init, _WHY),
    Row(_MESH, "_init_one_process_group", _make_init_one_group, _WHY),
)
