"""Processes that a rank's program starts, where ranks are threads."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from typing import Any

from polyrank import _C
from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.spawned_ranks import run_as_process

__all__ = ["wrap_start_processes"]


def wrap_start_processes(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.multiprocessing.spawn` or `start_processes`: each rank takes the place of one process.

    All ranks run the program up to there; then rank r runs the function as process r of its node.
    """

    @functools.wraps(original)
    def start(
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        nprocs: int = 1,
        join: bool = True,
        *more: Any,
        **options: Any,
    ) -> Any:
        own = rank_globals()
        if own is None or own.is_forked:
            return original(fn, args, nprocs, join, *more, **options)
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", own.world_size))
        own_process = own.rank_thread.rank % local_world_size
        return run_as_process(own_process, local_world_size, fn, args, nprocs, join)

    return start


def _leave_ranks_in_child() -> None:
    """A forked process (a DataLoader's worker) has its rank's state, but no other ranks."""
    own = rank_globals()
    if own is not None:
        own.is_forked = True
        _C.RankThread.forget_current()
        _C.intercept_builtins(None)
        random.seed()  # as Python does with the one generator that it knows


os.register_at_fork(after_in_child=_leave_ranks_in_child)
