"""Programs that start their ranks themselves, with torch.multiprocessing.spawn."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from polyrank.spawned_ranks import STARTS, Place, makes_ranks_processes

__all__ = ["be_what_is_spawned"]


def be_what_is_spawned(rank: int) -> None:
    """Let this process be one of those that its program spawns, if these are as many as the ranks.

    A program that starts N ranks by itself would start them on each rank here. So, before there is a
    process group, a spawn of as many processes as ranks run on a node starts none: rank r calls the
    function as process r, and rank 0 says so. Any other spawn starts processes.
    """
    pid = os.getpid()

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def start(fn: Any, args: Any = (), nprocs: int = 1, *more: Any, **options: Any) -> Any:
            ranks_a_node = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))

            def place() -> Place:
                if (
                    os.getpid() != pid
                    or nprocs != ranks_a_node
                    or ranks_a_node == 1
                    or dist.is_initialized()
                ):
                    return None
                return rank % ranks_a_node, ranks_a_node

            if rank == 0 and place() is not None:
                sys.stderr.write(
                    f"{original.__name__} of {nprocs} processes on as many ranks: each rank is one of "
                    "them, and none is started\n"
                )
            return makes_ranks_processes(place)(original)(fn, args, nprocs, *more, **options)

        return start

    for owner, name in STARTS:
        setattr(owner, name, wrapped(getattr(owner, name)))
