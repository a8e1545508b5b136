"""Waiting for a program's threads, as Python does at a process's end."""

from __future__ import annotations

import concurrent.futures.process as process_pools
import concurrent.futures.thread as thread_pools
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

__all__ = ["join_threads_of_program", "let_pools_end", "pools_ended"]


def let_pools_end() -> None:
    """Have all pools of threads or processes take no more work, and end when theirs is done."""
    with thread_pools._global_shutdown_lock:
        thread_pools._shutdown = True
    for queue in tuple(thread_pools._threads_queues.values()):
        queue.put(None)
    process_pools._global_shutdown = True
    for wakeup in tuple(process_pools._threads_wakeups.values()):
        wakeup.wakeup()


@contextlib.contextmanager
def pools_ended() -> Iterator[None]:
    """Within this block pools end; others can be made afterwards, since the process goes on."""
    let_pools_end()
    try:
        yield
    finally:
        thread_pools._shutdown = False
        process_pools._global_shutdown = False


def join_threads_of_program(threads: Callable[[], Iterable[threading.Thread]]) -> None:
    """Wait for those that are no daemons, and for those that these start meanwhile."""
    while left := [thread for thread in threads() if not thread.daemon]:
        left[0].join()
