"""Processes that a rank starts: they have its environment.

`os.environ` is each rank's own; C's, which a child takes over unless it is given one, is the process's.
So children get what `os.environ` shows, with what the rank has put by `os.putenv`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from multiprocessing import context, forkserver
from typing import Any

from polyrank import _C
from polyrank.rank_threads.rank_globals import rank_globals

__all__ = [
    "OF_MULTIPROCESSING",
    "environment_of_children",
    "fork_server_ended",
    "run_in_shell",
    "start_child",
]

_SERVER: Any = forkserver._forkserver
_CONTEXT: Any = context._default_context

# What `multiprocessing` keeps once a process and each rank has of its own: an object, and a name in it.
OF_MULTIPROCESSING: tuple[tuple[Any, str], ...] = (
    (_CONTEXT, "_actual_context"),
    # The process that `forkserver` forks children off.
    (_SERVER, "_forkserver_address"),
    (_SERVER, "_forkserver_alive_fd"),
    (_SERVER, "_forkserver_pid"),
    (_SERVER, "_inherited_fds"),
    (_SERVER, "_preload_modules"),
)

_PLACE_OF_ENVIRONMENT = 5  # among the arguments of fork_exec


def environment_of_children() -> dict[bytes, bytes]:
    """What C's environment would be in a process of the rank's."""
    own = rank_globals()
    put = {} if own is None else own.put_variables
    names = {**os.environb, **put}
    return {name: value for name, value in names.items() if value is not None}


def start_child(original: Callable[..., Any], *args: Any) -> Any:
    """`_posixsubprocess.fork_exec`, by which `subprocess` and `multiprocessing` start processes."""
    if args[_PLACE_OF_ENVIRONMENT] is None:
        own = [name + b"=" + value for name, value in environment_of_children().items()]
        args = (*args[:_PLACE_OF_ENVIRONMENT], own, *args[_PLACE_OF_ENVIRONMENT + 1 :])
    return original(*args)


def run_in_shell(_original: Callable[..., Any], command: Any) -> int:
    """`os.system`. Other ranks run meanwhile."""
    child = os.posix_spawn("/bin/sh", ["sh", "-c", command], environment_of_children())
    return os.waitpid(child, 0)[1]


@contextlib.contextmanager
def fork_server_ended() -> Iterator[None]:
    """Around a rank's program: its fork server, if it has one, ends with it."""
    before = _SERVER._forkserver_pid
    try:
        yield
    finally:
        thread = _C.RankThread.current()
        if thread is not None and thread.takes_turns and _SERVER._forkserver_pid != before:
            _SERVER._stop()
