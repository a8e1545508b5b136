"""What a process has once and each rank needs for itself, while ranks take turns.

One rank runs at a time, so what the process has once can change hands with the turn: it is put in
place when the turn comes to a rank, and kept when another rank gets it (by _C.ProcessState).
"""

from __future__ import annotations

import concurrent.futures.thread as pools
import contextlib
import copy
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from polyrank import _C
from polyrank.rank_threads.own_modules import OwnModules, import_locks
from polyrank.rank_threads.random_streams import RandomStream

__all__ = ["process_state", "restored"]


@dataclass(frozen=True)
class _Attribute:
    """A value that some object holds. A rank starts with the process's, or with what is made of it."""

    owner: Any  # or the name of a module that a program may never import
    name: str
    make: Callable[[Any, int], Any] = lambda value, _: value
    on_change: Callable[[], None] | None = None

    @property
    def place(self) -> tuple[dict[str, Any] | str, str, Callable[[], None] | None]:
        """As _C.ProcessState takes it."""
        owner = self.owner if isinstance(self.owner, str) else vars(self.owner)
        return owner, self.name, self.on_change

    def first_value(self, rank: int) -> Any:
        """What a rank has at first, made while the process's is in place."""
        owner = sys.modules.get(self.owner) if isinstance(self.owner, str) else self.owner
        return self.make(getattr(owner, self.name, None), rank)


def _copy(value: Any, _: int) -> Any:
    return copy.copy(value)


def _no_value(*_: Any) -> None:
    return None


def _made_for_rank(stream: RandomStream) -> Callable[[Any, int], Any]:
    return lambda _, rank: stream.make(rank)


def _attributes(streams: Sequence[RandomStream]) -> list[_Attribute]:
    root = logging.getLogger()
    forget_levels = root.manager._clear_cache  # type: ignore[attr-defined]
    return [
        _Attribute(sys, "argv", _copy),
        _Attribute(sys, "path", _copy),
        _Attribute(sys, "excepthook"),
        _Attribute(os.environ, "_data", _copy),
        _Attribute(warnings, "filters", _copy),
        _Attribute(warnings, "showwarning"),
        _Attribute(warnings, "_showwarnmsg_impl"),
        _Attribute(root, "handlers", _copy),
        _Attribute(root, "filters", _copy),
        # Loggers of modules that ranks share are shared too, below each rank's own root.
        _Attribute(root.manager, "loggerDict", _copy),
        _Attribute(root, "level", on_change=forget_levels),
        _Attribute(root.manager, "_disable", on_change=forget_levels),
        # Pools of threads, which a rank ends with its program.
        _Attribute(pools, "_shutdown"),
        _Attribute(pools, "_threads_queues", lambda _value, _rank: weakref.WeakKeyDictionary()),
        # What DTensor draws random numbers with.
        _Attribute("torch.distributed.tensor._random", "_rng_tracker", _no_value),
        *(_Attribute(stream.module, stream.name, _made_for_rank(stream)) for stream in streams),
    ]


def process_state(
    streams: Sequence[RandomStream], modules: OwnModules | None, world_size: int
) -> _C.ProcessState:
    """What each rank has of its own, these random streams and modules among it."""
    attributes = _attributes(streams)
    if modules is None:
        state = _C.ProcessState([attribute.place for attribute in attributes])
    else:
        attributes.append(_Attribute(*import_locks(), lambda _value, _rank: {}))
        state = _C.ProcessState([attribute.place for attribute in attributes], modules.present)
    for rank in range(world_size):
        values = [attribute.first_value(rank) for attribute in attributes]
        state.add(rank, values, {"__main__": sys.modules["__main__"]})
    return state


@contextlib.contextmanager
def restored(state: _C.ProcessState) -> Iterator[None]:
    """Put the process's back afterwards."""
    try:
        yield
    finally:
        state.take(_C.ProcessState.PROCESS)
