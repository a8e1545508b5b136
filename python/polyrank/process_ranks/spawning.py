"""Programs that start their ranks themselves, with torch.multiprocessing.spawn."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from polyrank.any_world.spawned_ranks import Place, makes_ranks_processes, start_rows
from polyrank.replacing.layers import PROCESSES

__all__ = ["ROWS", "be_what_is_spawned"]


@dataclass(frozen=True)
class _ThisProcess:
    """The rank that it is; what it forks is none."""

    rank: int
    pid: int


_this_process: _ThisProcess | None = None


def be_what_is_spawned(rank: int) -> None:
    """Let this process be one of those that its program spawns, if these are as many as the ranks.

    A program that starts N ranks by itself would start them on each rank here. So, before there is a
    process group, a spawn of as many processes as ranks run on a node starts none: rank r calls the
    function as process r, and rank 0 says so. Any other spawn starts processes.
    """
    global _this_process  # noqa: PLW0603 - a process is one rank, for good
    _this_process = _ThisProcess(rank, os.getpid())
    PROCESSES.enter()


def _place_of(this: _ThisProcess, nprocs: int) -> Place:
    ranks_a_node = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))
    if (
        os.getpid() != this.pid
        or nprocs != ranks_a_node
        or ranks_a_node == 1
        or dist.is_initialized()
    ):
        return None
    return this.rank % ranks_a_node, ranks_a_node


def _wrap_start(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(fn: Any, args: Any = (), nprocs: int = 1, *more: Any, **options: Any) -> Any:
        this = _this_process
        place = None if this is None else _place_of(this, nprocs)
        if place is not None and this is not None and this.rank == 0:
            sys.stderr.write(
                f"{original.__name__} of {nprocs} processes on as many ranks: each rank is one of "
                "them, and none is started\n"
            )
        return makes_ranks_processes(lambda: place)(original)(fn, args, nprocs, *more, **options)

    return start


ROWS = start_rows(_wrap_start)
