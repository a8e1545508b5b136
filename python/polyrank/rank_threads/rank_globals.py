"""One rank's state that its thread knows by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from polyrank import _C

__all__ = ["RankGlobals", "rank_globals", "thread_globals"]


@dataclass
class _Groups:
    """The process groups of one rank, with the attributes of `distributed_c10d._World`.

    PyTorch's own class keeps most of them in globals of its module.
    """

    default_pg: Any = None
    pg_map: dict[Any, Any] = field(default_factory=dict)
    pg_names: dict[Any, Any] = field(default_factory=dict)
    pg_group_ranks: dict[Any, Any] = field(default_factory=dict)
    pg_backend_config: dict[Any, Any] = field(default_factory=dict)
    group_count: int = 0
    tags_to_pg: dict[str, Any] = field(default_factory=dict)
    pg_to_tag: dict[Any, Any] = field(default_factory=dict)
    pg_coalesce_state: dict[Any, Any] = field(default_factory=dict)
    comms: list[Any] = field(default_factory=list)
    pg_config_info: list[dict[str, Any]] = field(default_factory=list)


class RankGlobals:
    """One rank's: its thread, its process groups, the store that it shares."""

    def __init__(
        self,
        rank_thread: _C.RankThread,
        world_size: int,
        store: _C.RankStore,
        stopped: threading.Event,
    ) -> None:
        self.rank_thread = rank_thread
        self.stopped = stopped  # set when the run is to end
        self.world_size = world_size
        self.store = store
        self.groups = _Groups()
        self.num_worlds = 0
        self.is_default_group_claimed = False
        self.is_forked = False  # into a process of its own, where no other rank is


_of_thread = threading.local()


def rank_globals() -> RankGlobals | None:
    """Those of the rank that the calling thread runs, or None."""
    return getattr(_of_thread, "globals", None)


@contextlib.contextmanager
def thread_globals(own: RankGlobals) -> Iterator[None]:
    """Let the calling thread be a rank."""
    _of_thread.globals = own
    try:
        yield
    finally:
        del _of_thread.globals
