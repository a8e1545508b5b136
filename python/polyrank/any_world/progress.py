"""What the ranks of a run are doing now, for whoever shows it while the run goes on."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polyrank.any_world.notebook_line import notebook_line

__all__ = ["ProgressLine", "RanksNow", "tells_of_ranks"]

_WAITING = (" wait ", " waits ")


@dataclass(frozen=True)
class RanksNow:
    """Ranks that run on their own, at one moment."""

    alive: int
    standing: str  # a line for those that stand alike: "  ranks 0-2 wait in all_reduce …"


_tellers: list[Callable[[], RanksNow]] = []


@contextlib.contextmanager
def tells_of_ranks(tell: Callable[[], RanksNow]) -> Iterator[None]:
    """A block in which ranks run, and `tell`, called on any thread, says what they do. A notebook shows it."""
    _tellers.append(tell)
    try:
        with notebook_line(ProgressLine("ranks run").text):
            yield
    finally:
        _tellers.remove(tell)


class ProgressLine:
    """What is run, and since it began: seconds, collectives, ranks alive, and who waits for what."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._launches_before = _num_launches()

    def text(self) -> str:
        """As of now. Ranks are those of the run that began last, if any run on their own."""
        parts = [self._what, f"{time.monotonic() - self._started:,.0f} s"]
        if (launches := _num_launches() - self._launches_before) > 0:
            parts.append(f"{launches:,} collectives")
        if _tellers:
            ranks = _tellers[-1]()
            parts.append(f"{ranks.alive:,} alive")
            parts += _waiting(ranks.standing)
        return "  ".join(parts)


def _num_launches() -> int:
    """Of this process; processes of ranks tell theirs when they end."""
    # Nothing was launched before it is loaded, which takes seconds and is not this thread's affair.
    report = getattr(sys.modules.get("polyrank._C"), "report", list)
    return sum(row["count"] for row in report())


def _waiting(standing: str) -> list[str]:
    lines = [line.strip() for line in standing.splitlines()]
    waiting = [line for line in lines if any(word in line for word in _WAITING)]
    more = [f"and {len(waiting) - 1:,} more wait"] if len(waiting) > 1 else []
    return [*waiting[:1], *more]
