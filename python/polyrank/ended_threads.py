"""Waiting for a program's threads, as Python does at a process's end."""

from __future__ import annotations

import concurrent.futures.thread as pools
import threading
from collections.abc import Callable, Iterable

__all__ = ["join_threads_of_program", "let_pools_end"]


def let_pools_end() -> None:
    """Have all pools of threads take no more work, and their threads end when theirs is done."""
    with pools._global_shutdown_lock:
        pools._shutdown = True
    for queue in tuple(pools._threads_queues.values()):
        queue.put(None)


def join_threads_of_program(threads: Callable[[], Iterable[threading.Thread]]) -> None:
    """Wait for those that are no daemons, and for those that these start meanwhile."""
    while left := [thread for thread in threads() if not thread.daemon]:
        left[0].join()
