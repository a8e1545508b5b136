"""Tells the lockstep world which process groups the program makes.

One process stands for all ranks, so it must know the groups of all of them, and which
groups belong together: a collective on the group of a DeviceMesh dimension runs on all
groups of that dimension. PyTorch makes groups through one function, which is replaced while
a lockstep run is on. NOTE [Group families] in world/group_families.h has the rules.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.distributed import c10d_logger, distributed_c10d

from polyrank import _C
from polyrank.any_world.debug_level import unwrapped_groups
from polyrank.errors import DivergenceError
from polyrank.replacing.code_of import IN_POLYRANK, IN_TORCH
from polyrank.replacing.layers import LOCKSTEP_GROUPS
from polyrank.replacing.row import Row

__all__ = [
    "ROWS",
    "group_and_root",
    "group_rank_of_ranks",
    "groups_of_family",
    "known_process_groups",
    "members_of",
    "own_group_ranks",
]


class _EveryRankIsMember(list[int]):
    """Members of a group, to a process that is all ranks at once."""

    def __contains__(self, rank: object) -> bool:
        return True


_ON_THE_WAY = (
    IN_POLYRANK,
    distributed_c10d.__file__,
    inspect.getfile(c10d_logger),
    contextlib.__file__,
)


def _is_made_by_torch() -> bool:
    """Whether the call of `new_group` stands in torch's own code, which sees rank 0 alone."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_ON_THE_WAY):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(IN_TORCH)


class _Collected:
    """The names of groups that one call makes."""

    def __init__(self) -> None:
        self._open: list[list[str]] = []

    def add(self, group_name: str) -> None:
        if self._open:
            self._open[-1].append(group_name)

    @contextlib.contextmanager
    def names(self) -> Iterator[list[str]]:
        names: list[str] = []
        self._open.append(names)
        try:
            yield names
        finally:
            self._open.remove(names)


_collected = _Collected()


def _wrap_helper(original: Callable[..., Any]) -> Callable[..., Any]:
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
        _C.register_process_group(
            group.group_name,
            members,
            dist.get_world_size(),
            label,
            is_torchs=_is_made_by_torch(),
        )
        _collected.add(group.group_name)
        return group, store

    return new_process_group


_OF_SUBGROUPS = ("timeout", "backend", "pg_options")


def _wrap_subgroups(original: Callable[..., Any]) -> Callable[..., Any]:
    """`new_subgroups_by_enumeration`, whose first result is each rank's own group.

    That is a group besides the listed ones, each of which is the same on all ranks.
    """
    signature = inspect.signature(original)

    @functools.wraps(original)
    def new_subgroups_by_enumeration(*args: Any, **kwargs: Any) -> Any:
        current, subgroups = original(*args, **kwargs)
        one = subgroups[0] if current is None else current  # rank 0's, if it has one
        options = signature.bind(*args, **kwargs).arguments
        own = dist.new_group(
            dist.get_process_group_ranks(one),
            sort_ranks=False,
            group_desc=one.group_desc,
            **{name: options[name] for name in _OF_SUBGROUPS if name in options},
        )
        _C.register_group_family(own.group_name, [group.group_name for group in subgroups])
        return own, subgroups

    return new_subgroups_by_enumeration


def _wrap_mesh_dim(original: Callable[..., Any]) -> Callable[..., Any]:
    """`DeviceMesh._init_one_process_group`, which makes the groups of one mesh dimension."""

    @functools.wraps(original)
    def init_one_process_group(*args: Any, **kwargs: Any) -> Any:
        with _collected.names() as names:
            name = original(*args, **kwargs)
        if names:
            name = names[0] if name is None else name
            _C.register_group_family(name, names)
        return name

    return init_one_process_group


def _wrap_split(original: Callable[..., Any]) -> Callable[..., Any]:
    """`split_group` without a backend that can split: makes all the groups."""

    @functools.wraps(original)
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
        mine: dist.ProcessGroup | None = None
        names = []
        for group_ranks in split_ranks:
            ranks = [parent_ranks[rank] for rank in group_ranks]
            part = dist.new_group(
                ranks,
                timeout=timeout,
                backend=backend,
                pg_options=pg_options,
                group_desc=group_desc,
                sort_ranks=False,
            )
            names.append(part.group_name)
            if mine is None or 0 in ranks:
                mine = part
        assert mine is not None  # noqa: S101
        _C.register_group_family(mine.group_name, names)
        return mine

    return split_group


def _wrap_real(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function of meshes, which reads tensors of ranks: these must not be fake."""

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


def own_group_ranks(group: dist.ProcessGroup, ranks: _C.RankSet) -> int | torch.SymInt:
    """As `group_rank_of_ranks()`, as one number."""
    return _C.own_group_ranks(group.group_name, ranks)


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
    _C.clear_process_groups()
    if dist.is_initialized():
        world_size = dist.get_world_size()
        name = dist.group.WORLD.group_name  # type: ignore[union-attr]
        _C.register_process_group(name, list(range(world_size)), world_size, "world")
    try:
        with LOCKSTEP_GROUPS.on():
            yield
    finally:
        _C.clear_process_groups()


_C10D = "torch.distributed.distributed_c10d"
_MESH = "torch.distributed.device_mesh:DeviceMesh"
_FAMILY = "makes groups that are a family"
_READS_RANKS = "reads a mesh's tensor of ranks, also in a FakeTensorMode"

ROWS = (
    Row(_C10D, "_new_process_group_helper", _wrap_helper, "makes all groups, rank 0's alone"),
    Row(_C10D, "new_subgroups_by_enumeration", _wrap_subgroups, _FAMILY),
    Row(_C10D, "split_group", _wrap_split, "there for accelerators alone"),
    Row(_MESH, "_init_one_process_group", _wrap_mesh_dim, _FAMILY),
    Row("torch.distributed.device_mesh", "init_device_mesh", _wrap_real, _READS_RANKS),
    *(
        Row(_MESH, name, _wrap_real, _READS_RANKS)
        for name in (
            "__getitem__",
            "__init__",
            "_flatten",
            "_get_all_submeshes",
            "_unflatten",
            "from_group",
            "mesh",
        )
    ),
)
