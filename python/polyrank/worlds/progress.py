"""What the ranks of a run are doing now, for whoever shows it while the run goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["RanksNow", "ranks_now", "tells_of_ranks"]


@dataclass(frozen=True)
class RanksNow:
    """Ranks that run on their own, at one moment."""

    alive: int
    standing: str  # a line for those that stand alike: "  ranks 0-2 wait in all_reduce …"


_tellers: list[Callable[[], RanksNow]] = []


@contextlib.contextmanager
def tells_of_ranks(tell: Callable[[], RanksNow]) -> Iterator[None]:
    """A block in which ranks run, and `tell`, called on any thread, says what they do."""
    _tellers.append(tell)
    try:
        yield
    finally:
        _tellers.remove(tell)


def ranks_now() -> RanksNow | None:
    """Of the run that began last; None: no ranks run on their own."""
    return _tellers[-1]() if _tellers else None
