"""What the machine has of what ranks need."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from dataclasses import dataclass

import psutil

from polyrank.process_ranks.room import num_processes_with_room

__all__ = ["SHARED_MEMORY", "Machine", "machine"]

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - asked for its size


@dataclass(frozen=True)
class Machine:
    """Sizes are bytes; a limit that is not set is None."""

    system: str
    cores: int  # that this process may use
    cores_there: int
    memory: int
    memory_free: int
    shared_memory: int | None  # of /dev/shm; None: there is none
    shared_memory_free: int | None
    open_files: int | None  # that a process may have
    open_files_at_most: int | None  # that it may raise this to
    processes: int | None  # of this user
    ranks_as_processes: int  # that there is room for now, as `polyrank run` reckons

    def problems(self) -> list[str]:
        """What ranks will lack, a sentence each."""
        found = []
        if self.ranks_as_processes < 2:  # noqa: PLR2004 - fewer are no world
            found.append(
                "no two ranks have room as processes: free some memory, or use --world threads"
            )
        return found


def machine() -> Machine:
    """This one, now."""
    memory = psutil.virtual_memory()
    shared = shutil.disk_usage(SHARED_MEMORY) if os.path.ismount(SHARED_MEMORY) else None
    open_files, open_files_at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _num_cores(),
        cores_there=_num_cores(),
        memory=memory.total,
        memory_free=memory.available,
        shared_memory=None if shared is None else shared.total,
        shared_memory_free=None if shared is None else shared.free,
        open_files=_limit(open_files),
        open_files_at_most=_limit(open_files_at_most),
        processes=_limit(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        ranks_as_processes=num_processes_with_room(),
    )


def _num_cores() -> int:
    return os.cpu_count() or 1


def _limit(number: int) -> int | None:
    return None if number == resource.RLIM_INFINITY else number
