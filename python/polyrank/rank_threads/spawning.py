"""Processes that a rank's program starts, where ranks are threads."""

from __future__ import annotations

import ctypes
import os
import random

from polyrank import _C
from polyrank.any_world.spawned_ranks import Place, makes_ranks_processes
from polyrank.rank_threads.child_processes import environment_of_children
from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["wrap_start_processes"]


def _place_on_thread() -> Place:
    own = rank_globals()
    if own is None or own.is_forked:
        return None
    ranks_a_node = int(os.environ.get("LOCAL_WORLD_SIZE", own.world_size))
    return own.rank_thread.rank % ranks_a_node, ranks_a_node


wrap_start_processes = makes_ranks_processes(_place_on_thread)


def _give_environment() -> None:
    """Make C's environment, which `exec` hands on, the rank's."""
    environment = environment_of_children()
    clear = getattr(ctypes.CDLL(None), "clearenv", None)
    if clear is not None:
        clear()
    for name, value in environment.items():
        os.putenv(name, value)


def _leave_ranks_in_child() -> None:
    """A forked process (a DataLoader's worker) has its rank's state, but no other ranks."""
    own = rank_globals()
    if own is not None:
        own.is_forked = True
        _give_environment()
        _C.RankThread.forget_current()
        _C.intercept_builtins(None)
        random.seed()  # as Python does with the one generator that it knows


os.register_at_fork(after_in_child=_leave_ranks_in_child)
