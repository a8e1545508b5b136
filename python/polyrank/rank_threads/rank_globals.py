"""One rank's state that its thread knows by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from polyrank import _C
from polyrank.any_world.exit_functions import ExitFunctions
from polyrank.any_world.group_functions import GroupNames
from polyrank.any_world.mesh_identity import new_identity, tell_identity
from polyrank.rank_threads.compiled_regions import CompiledRegions
from polyrank.rank_threads.operators import Operators

__all__ = ["RankGlobals", "new_groups", "rank_globals", "thread_globals", "thread_numbers"]


def new_groups() -> dict[str, Any]:
    """The attributes of `distributed_c10d._World`, for a rank that has no group yet.

    PyTorch's own class keeps most of them in globals of its module.
    """
    return {
        "default_pg": None,
        "pg_map": {},
        "pg_names": {},
        "pg_group_ranks": {},
        "pg_backend_config": {},
        "group_count": 0,
        "tags_to_pg": {},
        "pg_to_tag": {},
        "pg_coalesce_state": {},
        "pg_flight_recorder_hooks": {},  # which not every torch that we support has
        "comms": [],
        "pg_config_info": [],
    }


class RankGlobals:
    """One rank's: its thread, its process groups, the store that it shares. Made on that thread."""

    def __init__(
        self,
        rank_thread: _C.RankThread,
        world_size: int,
        store: _C.RankStore,
        stopped: threading.Event,
        compiled: CompiledRegions,
        operators: Operators,
        signals: Any,
        settings: Any,
    ) -> None:
        self.rank_thread = rank_thread  # its first
        self.main_thread = threading.current_thread()
        self.identity = new_identity()  # as no other rank's, of this run or another
        self.started: dict[int, Any] = {}  # StartedThread by its number
        self.groups: dict[str, Any] | None = None  # as new_groups(), since it has some
        self.stopped = stopped  # set when the run is to end
        self.world_size = world_size
        self.store = store
        self.num_worlds = 0
        self.names = GroupNames()
        self.is_default_group_claimed = False
        self.compiled = compiled
        self.operators = operators
        self.signals = signals  # RankSignals, which all ranks of the run share
        self.settings = settings  # OwnSettings, likewise
        self.operator_libraries: dict[str, Any] = {}  # of custom operators, by their names
        self.operator_definitions: dict[str, Any] = {}
        self.put_variables: dict[bytes, bytes | None] = {}  # by os.putenv; None: by os.unsetenv
        self.safe_globals: set[Any] = set()  # that it adds to those of modules
        self.unsafe_globals: set[Any] = set()  # that it takes away
        self.exit_functions = ExitFunctions()
        self.is_forked = False  # into a process of its own, where no other rank is

    def started_as(self, thread: threading.Thread) -> Any:
        """The StartedThread that the thread is, or None."""
        return next(
            (started for started in self.started.values() if started.thread is thread), None
        )


_of_thread = threading.local()
thread_numbers: dict[int, int] = {}  # by Python's identifiers, of those that take turns


def rank_globals() -> RankGlobals | None:
    """Those of the rank that the calling thread is, or that has started it, or None."""
    return getattr(_of_thread, "globals", None)


def _identity() -> int | None:
    own = rank_globals()
    return None if own is None else own.identity


tell_identity(_identity)


@contextlib.contextmanager
def thread_globals(own: RankGlobals) -> Iterator[None]:
    """Let the calling thread be a rank."""
    _of_thread.globals = own
    thread = _C.RankThread.current()
    ident = threading.get_ident()
    if thread is not None:
        thread_numbers[ident] = thread.thread
    try:
        yield
    finally:
        thread_numbers.pop(ident, None)
        del _of_thread.globals
