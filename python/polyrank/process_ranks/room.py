"""How many ranks that are processes this machine has room for."""

from __future__ import annotations

import os
import resource
import sys

import psutil

__all__ = ["num_processes_with_room", "why_no_room"]

_MIB = 2**20
# Of its own, a rank has some 6 MiB at its start and 14 after three training steps of a small model.
_LEAST_MIB = 12
# What it is reckoned with where nobody asked for processes: with modules and tensors of its own.
_USUAL_MIB = 64
# That the user has beside the ranks.
_OTHER_PROCESSES = 64


def why_no_room(world_size: int, *, is_asked_for: bool) -> str | None:
    """Why so many can't run now, in words; None: there is room."""
    if not _can_be_watched():
        return "ranks that are processes need Linux"
    needed = world_size * (_LEAST_MIB if is_asked_for else _USUAL_MIB)
    free = psutil.virtual_memory().available // _MIB
    if needed > free:
        return f"{world_size:,} processes take {_gib(needed)} of memory or more, and {_gib(free)} are free"
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if (
        os.geteuid() != 0
        and most != resource.RLIM_INFINITY
        and world_size + _OTHER_PROCESSES > most
    ):
        return f"{world_size:,} processes are more than the {most:,} that `ulimit -u` allows"
    return None


def num_processes_with_room() -> int:
    """How many nobody would be refused who didn't ask for processes by name."""
    if not _can_be_watched():
        return 0
    most = psutil.virtual_memory().available // _MIB // _USUAL_MIB
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() != 0 and limit != resource.RLIM_INFINITY:
        most = min(most, max(limit - _OTHER_PROCESSES, 0))
    return most


def _can_be_watched() -> bool:
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def _gib(mib: int) -> str:
    return f"{mib / 1024:,.1f} GiB"
