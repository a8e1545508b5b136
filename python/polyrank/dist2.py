"""Process groups as values: torch.distributed._dist2, in any world. docs/dist2.md.

    from polyrank import dist2

    group = dist2.new_group("gloo", timedelta(seconds=60), "cpu")
    group.allreduce([x]).wait()

A factory that is registered here or in C++ works from both languages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import (
    ProcessGroup,
    ReduceOp,
    Store,
    _current_process_group,
    _set_process_group,
)

from polyrank import _C
from polyrank.errors import UnknownOptionError, UsageError

__all__ = [
    "ProcessGroup",
    "ProcessGroupFactory",
    "ReduceOp",
    "Store",
    "current_process_group",
    "new_group",
    "process_group",
    "register_backend",
]


class ProcessGroupFactory(Protocol):
    """What makes the process groups of one backend."""

    def __call__(
        self,
        store: Store,
        rank: int,
        world_size: int,
        timeout: timedelta,
        device: torch.device,
        **options: Any,
    ) -> ProcessGroup:
        """A group of the ranks 0..world_size-1, which meet in `store`, as `rank` sees it."""
        ...


def register_backend(name: str, func: ProcessGroupFactory) -> None:
    """Let `new_group(name, ...)`, here and in C++, call `func`.

    Raises:
        UsageError: there is a backend of that name, the name is empty, or `func` can't be called.
    """
    if not callable(func):
        raise UsageError(f'backend "{name}": a factory is a function, not {func!r}')
    _C.register_dist2_backend(name, func)


def new_group(
    backend: str,
    timeout: timedelta,
    device: str | torch.device,
    *,
    store: Store | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    **options: Any,
) -> ProcessGroup:
    """Make a group of all ranks that torch.distributed knows nothing of.

    Without `store`, `rank` and `world_size` these come from the world that polyrank runs, else from
    the variables that torchrun sets. All ranks make their groups in the same order.

    Args:
        backend: "gloo", "nccl", "fake", "lockstep", "threads", or one that was registered. Where
            ranks run in lockstep, are threads, or one runs alone, "gloo" and "nccl" give that
            world's group.
        timeout: for meeting the others, and for each collective.
        device: what the group's tensors are on.
        store: where the ranks meet.
        rank: who this one is.
        world_size: how many there are.
        options: those of the backend; docs/dist2.md lists them.

    Raises:
        UsageError: there is no such backend, gloo was given an option, nobody says who this rank
            is, or a factory of the program's gave something else.
        UnknownOptionError: the backend has no such option.
        CollectiveError: a rank did not come within `timeout`; the message names it.
    """
    if not isinstance(timeout, timedelta):
        raise UsageError(f"timeout is a datetime.timedelta, not {timeout!r}")
    factory = _C.find_dist2_backend(backend)
    place = _C.dist2_meeting_place(backend, timeout, store, rank, world_size)
    group = factory(*place, timeout, torch.device(device), **options)
    if not isinstance(group, ProcessGroup):
        raise UsageError(f'backend "{backend}": its factory gave no process group, but {group!r}')
    return group


def current_process_group() -> ProcessGroup | None:
    """The group that the calling thread works with, or None."""
    group: ProcessGroup | None = _current_process_group()
    return group


@contextlib.contextmanager
def process_group(pg: ProcessGroup) -> Iterator[None]:
    """Let `pg` be the calling thread's current group in the block."""
    before = current_process_group()
    _set_process_group(pg)
    try:
        yield
    finally:
        _set_process_group(before)  # type: ignore[arg-type]


def _nccl_factory(
    store: Store,
    rank: int,
    world_size: int,
    timeout: timedelta,
    device: torch.device,
    **options: Any,
) -> ProcessGroup:
    # The classes are there only in builds of PyTorch with NCCL.
    c10d: Any = dist
    settings = c10d.ProcessGroupNCCL.Options()
    settings._timeout = timeout
    for name, value in options.items():
        if not hasattr(settings, name):
            raise UnknownOptionError(f'Unknown option {name} of backend "nccl"')
        setattr(settings, name, value)
    store = _C.dist2_own_keys(store, rank, world_size)
    _C.dist2_roll_call(store, rank, world_size, timeout)
    backend = c10d.ProcessGroupNCCL(store, rank, world_size, settings)
    backend._set_sequence_number_for_group()
    backend.eager_connect_single_device(device)
    group = ProcessGroup(store, rank, world_size)
    group._set_default_backend(ProcessGroup.BackendType.NCCL)
    group._register_backend(device, ProcessGroup.BackendType.NCCL, backend)
    return group


if dist.is_nccl_available():
    _C.set_dist2_nccl_factory(_nccl_factory)
