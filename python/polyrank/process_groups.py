"""Tells the lockstep world which process groups the program makes.

One process stands for all ranks, so it must know the groups of all of them, and which
groups belong together: a collective on one group of a DeviceMesh dimension runs on all
groups of that dimension. PyTorch makes groups through one function, which is wrapped while
a lockstep run is on.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.distributed import device_mesh, distributed_c10d

from polyrank import _C
from polyrank.debug_level import unwrapped_groups
from polyrank.errors import DivergenceError

__all__ = [
    "group_and_root",
    "group_rank_of_ranks",
    "groups_of_family",
    "known_process_groups",
    "members_of",
]


# What of a DeviceMesh reads its tensor of ranks.
_READ_RANKS = (
    "__getitem__",
    "__init__",
    "_flatten",
    "_get_all_submeshes",
    "_unflatten",
    "from_group",
    "mesh",
)


class _EveryRankIsMember(list[int]):
    """Members of a group, to a process that is all ranks at once."""

    def __contains__(self, rank: object) -> bool:
        return True


class _Families:
    """Collects groups that one call makes, which are a family."""

    def __init__(self) -> None:
        self._open: list[list[str]] = []

    def add(self, group_name: str) -> None:
        if self._open:
            self._open[-1].append(group_name)

    @contextlib.contextmanager
    def collect(self) -> Iterator[list[str]]:
        names: list[str] = []
        self._open.append(names)
        try:
            yield names
        finally:
            self._open.remove(names)
        if names:
            _C.register_group_family(names)


def _wrap_helper(original: Callable[..., Any], families: _Families) -> Callable[..., Any]:
    """`_new_process_group_helper` that makes groups without rank 0 too, and registers all."""
    make = unwrapped_groups()(original)

    @functools.wraps(original)
    def new_process_group(
        group_size: int,
        group_rank: int | None,
        global_ranks_in_group: list[int],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if not global_ranks_in_group:  # the default group: a new start
            group, store = make(group_size, group_rank, global_ranks_in_group, *args, **kwargs)
            _C.clear_process_groups()
            _C.register_process_group(
                group.group_name, list(range(group_size)), group_size, "world"
            )
            return group, store
        # Whatever backend the program names, no collective reaches it.
        if args:
            args = ("fake", *args[1:])
        else:
            kwargs["backend"] = "fake"
        kwargs.pop("backend_options", None)
        members = list(global_ranks_in_group)
        # A group that rank 0 is not in would not be made. This process is its other members too.
        group, store = make(
            group_size, group_rank or 0, _EveryRankIsMember(members), *args, **kwargs
        )
        description = group.group_desc
        label = "" if description == "undefined" else description
        _C.register_process_group(group.group_name, members, dist.get_world_size(), label)
        families.add(group.group_name)
        return group, store

    return new_process_group


def _wrap_subgroups(original: Callable[..., Any], families: _Families) -> Callable[..., Any]:
    """`new_subgroups_by_enumeration`, whose groups are a family."""

    @functools.wraps(original)
    def new_subgroups_by_enumeration(*args: Any, **kwargs: Any) -> Any:
        with families.collect():
            current, subgroups = original(*args, **kwargs)
        # Rank 0's subgroup; if it has none, any: each stands for all of them.
        return (subgroups[0] if current is None else current), subgroups

    return new_subgroups_by_enumeration


def _wrap_mesh_dim(original: Callable[..., Any], families: _Families) -> Callable[..., Any]:
    """`DeviceMesh._init_one_process_group`, which makes the groups of one mesh dimension."""

    @functools.wraps(original)
    def init_one_process_group(*args: Any, **kwargs: Any) -> Any:
        with families.collect() as names:
            name = original(*args, **kwargs)
        return names[0] if name is None and names else name

    return init_one_process_group


def _wrap_split(families: _Families) -> Callable[..., Any]:
    """`split_group` without a backend that can split: makes all the groups."""

    @functools.wraps(dist.split_group)
    def split_group(
        parent_pg: dist.ProcessGroup | None = None,
        split_ranks: list[list[int]] | None = None,
        timeout: Any = None,
        pg_options: Any = None,
        group_desc: str | None = None,
        backend: Any = None,
    ) -> dist.ProcessGroup:
        if not split_ranks:
            raise ValueError("split_ranks cannot be None or empty")
        parent_ranks = dist.get_process_group_ranks(parent_pg)
        mine = None
        with families.collect():
            for group_ranks in split_ranks:
                ranks = [parent_ranks[rank] for rank in group_ranks]
                group = dist.new_group(
                    ranks,
                    timeout=timeout,
                    backend=backend,
                    pg_options=pg_options,
                    group_desc=group_desc,
                    sort_ranks=False,
                )
                if mine is None or 0 in ranks:
                    mine = group
        return mine  # type: ignore[return-value]

    return split_group


def _wrap_real(original: Any) -> Any:
    """A function or property of meshes, which reads tensors of ranks: these must not be fake."""
    if isinstance(original, property):
        return property(_wrap_real(original.fget))
    if isinstance(original, staticmethod):
        return staticmethod(_wrap_real(original.__func__))

    @functools.wraps(original)
    def with_real_tensors(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return original(*args, **kwargs)

    return with_real_tensors


def members_of(group_name: str) -> tuple[list[int], int | None]:
    """The members of a group that torch.distributed knows, and the world size; else `([], None)`."""
    if not dist.is_initialized():
        return [], None
    try:
        group = distributed_c10d._resolve_process_group(group_name)  # type: ignore[arg-type,attr-defined]
        return dist.get_process_group_ranks(group), dist.get_world_size()
    except (RuntimeError, KeyError, ValueError):
        return [], dist.get_world_size()


def group_rank_of_ranks(group: dist.ProcessGroup, ranks: list[int]) -> dict[int, int]:
    """Each rank's group rank in its group of the family that `group` stands for; -1 if in none."""
    return _C.group_ranks(group.group_name, dist.get_world_size(), ranks)


def groups_of_family(group: dist.ProcessGroup) -> list[list[int]]:
    """The members of each group that acts when the program names `group`."""
    return _C.group_family(group.group_name, dist.get_world_size())


def group_and_root(
    group: dist.ProcessGroup | None, rank: int | torch.SymInt | None, group_rank: int | None
) -> tuple[dist.ProcessGroup, int]:
    """The group, or the default one, and the group rank of its root, or 0."""
    c10d: Any = distributed_c10d
    group = c10d._group_or_default_group(group)
    if rank is None and group_rank is None:
        group_rank = 0
    root = c10d._canonicalize_group_rank(group, rank, group_rank)
    if isinstance(root, torch.SymInt):
        raise DivergenceError(
            f"ranks name different roots: {rank} are the group ranks {root}. The root must be one "
            "member of each rank's group, as dist.get_global_rank(group, 0) is."
        )
    return group, root


@contextlib.contextmanager
def known_process_groups() -> Iterator[None]:
    """Within this context, each process group that the program makes is known to lockstep.

    Groups without rank 0 are real groups too instead of `GroupMember.NON_GROUP_MEMBER`.
    Groups that were made before are taken to stand for their whole family, as in PyTorch's
    simulator. On exit PyTorch's functions are back and the groups are forgotten.
    """
    families = _Families()
    mesh_class = device_mesh.DeviceMesh
    helper = _wrap_helper(distributed_c10d._new_process_group_helper, families)
    subgroups = _wrap_subgroups(distributed_c10d.new_subgroups_by_enumeration, families)
    mesh_dim = staticmethod(_wrap_mesh_dim(mesh_class._init_one_process_group, families))
    split = _wrap_split(families)
    make_mesh = _wrap_real(device_mesh.init_device_mesh)
    patches: list[tuple[Any, str, Any]] = [
        *((mesh_class, name, _wrap_real(vars(mesh_class)[name])) for name in _READ_RANKS),
        *(
            (module, "init_device_mesh", make_mesh)
            for module in list(sys.modules.values())
            if getattr(module, "__dict__", {}).get("init_device_mesh")
            is device_mesh.init_device_mesh
        ),
        (distributed_c10d, "_new_process_group_helper", helper),
        (distributed_c10d, "new_subgroups_by_enumeration", subgroups),
        (dist, "new_subgroups_by_enumeration", subgroups),
        (distributed_c10d, "split_group", split),
        (device_mesh, "split_group", split),
        (dist, "split_group", split),
        (mesh_class, "_init_one_process_group", mesh_dim),
    ]
    _C.clear_process_groups()
    if dist.is_initialized():
        world_size = dist.get_world_size()
        name = dist.group.WORLD.group_name  # type: ignore[union-attr]
        _C.register_process_group(name, list(range(world_size)), world_size, "world")
    originals = [(owner, name, vars(owner)[name]) for owner, name, _ in patches]
    for owner, name, replacement in patches:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
        _C.clear_process_groups()
