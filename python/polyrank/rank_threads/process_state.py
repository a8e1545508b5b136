"""What a process has once and each rank needs for itself, while ranks take turns.

One rank runs at a time, so what the process has once can change hands with the turn: it is put in
place when the turn comes to a rank, and kept when another rank gets it (by _C.ProcessState).
"""

from __future__ import annotations

import concurrent.futures.process as process_pools
import concurrent.futures.thread as thread_pools
import contextlib
import copy
import copyreg
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from polyrank import _C
from polyrank.rank_threads.child_processes import OF_MULTIPROCESSING
from polyrank.rank_threads.own_modules import OwnModules, import_locks
from polyrank.rank_threads.own_patches import own_patches
from polyrank.rank_threads.own_state import own_state
from polyrank.rank_threads.random_streams import RandomStream

__all__ = ["process_state", "restored"]

# What makes a rank's first value of the process's.
_Make = Callable[[Any, int], Any]


def _copied(value: Any, _: int) -> Any:
    return copy.copy(value)


def _made_for_rank(stream: RandomStream) -> _Make:
    return lambda _, rank: stream.make(rank)


def _no_threads(_value: Any, _rank: int) -> Any:
    return weakref.WeakKeyDictionary()


# Of Python's library: an object, a name in it, and what makes a rank's first value.
_OF_LIBRARY: tuple[tuple[Any, str, _Make | None], ...] = (
    (sys, "argv", _copied),
    (sys, "path", _copied),
    (sys, "path_hooks", _copied),
    (sys, "path_importer_cache", _copied),
    (sys, "meta_path", _copied),
    (sys, "excepthook", None),
    (warnings, "filters", _copied),
    (warnings, "showwarning", None),
    (warnings, "_showwarnmsg_impl", None),
    (logging.root, "handlers", _copied),
    (logging.root, "filters", _copied),
    # Loggers of modules that ranks share are shared too, below each rank's own root.
    (logging.root.manager, "loggerDict", _copied),
    (logging, "_loggerClass", None),
    (logging, "_warnings_showwarning", None),
    (logging, "_logRecordFactory", None),
    (logging, "_levelToName", _copied),
    (logging, "_nameToLevel", _copied),
    *((owner, name, None) for owner, name in OF_MULTIPROCESSING),
    # Pools of threads and of processes, which a rank ends with its program.
    (thread_pools, "_shutdown", None),
    (thread_pools, "_threads_queues", _no_threads),
    (process_pools, "_global_shutdown", None),
    (process_pools, "_threads_wakeups", _no_threads),
)


# How objects are pickled that do not say it themselves.
_OF_PICKLE: tuple[dict[Any, Any], ...] = (
    copyreg.dispatch_table,
    copyreg._extension_registry,  # type: ignore[attr-defined]
    copyreg._inverted_registry,  # type: ignore[attr-defined]
    copyreg._extension_cache,  # type: ignore[attr-defined]
)


def process_state(streams: Sequence[RandomStream], modules: OwnModules | None) -> _C.ProcessState:
    """What each rank has of its own of Python's library, these random streams and modules among it."""
    state = _C.ProcessState(
        None if modules is None else modules.present, {"__main__": sys.modules["__main__"]}
    )
    for owner, name, make in _OF_LIBRARY:
        state.add_value(vars(owner), name, make)
    environments: dict[int, Any] = {}
    for environment in (os.environ, os.environb):  # text and bytes of one dict
        state.add_value(
            vars(environment),
            "_data",
            lambda value, rank: environments.setdefault(rank, copy.copy(value)),
        )
    for table in _OF_PICKLE:
        state.add_entries(table)
    forget_levels = logging.root.manager._clear_cache  # type: ignore[attr-defined]
    state.add_value(vars(logging.root), "level", None, forget_levels)
    state.add_value(vars(logging.root.manager), "_disable", None, forget_levels)
    for stream in streams:
        state.add_value(vars(stream.module), stream.name, _made_for_rank(stream))
    if modules is not None:
        bootstrap, locks = import_locks()
        state.add_value(vars(bootstrap), locks, lambda _value, _rank: {})
    return state


@contextlib.contextmanager
def restored(state: _C.ProcessState, modules: OwnModules | None) -> Iterator[None]:
    """Let ranks have their own of torch's state too; put the process's back afterwards."""
    with own_state(state), own_patches(state, modules):
        try:
            yield
        finally:
            state.take(_C.ProcessState.PROCESS)
            state.forget_ranks()
