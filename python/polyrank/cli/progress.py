"""A line in the terminal, while a program runs, that says how far it is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from polyrank.worlds.progress import ranks_now
from polyrank.worlds.run_options import RunOptions

__all__ = ["Progress", "progress"]

_REFRESH_SECONDS = 0.25
_WAITING = (" wait ", " waits ")


class Progress:
    """The line, which rich asks for a dozen times a second."""

    def __init__(self, options: RunOptions) -> None:
        which = "" if options.rank is None else f"rank {options.rank:,} of "
        self._what = f"{options.script} on {which}{options.world_size:,} ranks"
        self._started = time.monotonic()
        self._made = 0.0
        self._line = Text()

    def __rich__(self) -> Text:
        now = time.monotonic()
        if now - self._made >= _REFRESH_SECONDS:
            self._made = now
            self._line = Text(self.line(now), no_wrap=True, overflow="ellipsis")
        return self._line

    def line(self, now: float) -> str:
        """What is run, for how long, collectives so far, ranks alive, and who waits for what."""
        parts = [self._what, f"{now - self._started:,.0f} s"]
        if (launches := _num_launches()) > 0:
            parts.append(f"{launches:,} collectives")
        ranks = ranks_now()
        if ranks is not None:
            parts.append(f"{ranks.alive:,} alive")
            parts += _waiting(ranks.standing)
        return "  ".join(parts)


def _num_launches() -> int:
    """Of this process; processes of ranks tell theirs when they end."""
    from polyrank import _C

    return sum(row["count"] for row in _C.report())


def _waiting(standing: str) -> list[str]:
    lines = [line.strip() for line in standing.splitlines()]
    waiting = [line for line in lines if any(word in line for word in _WAITING)]
    more = [f"and {len(waiting) - 1:,} more wait"] if len(waiting) > 1 else []
    return [*waiting[:1], *more]


@contextlib.contextmanager
def progress(options: RunOptions) -> Iterator[None]:
    """A block in which the line is shown, where standard error is a terminal that no rank has."""
    console = Console(file=sys.stderr)
    if not console.is_terminal or options.debug_rank is not None:
        yield
        return
    with console.status(Progress(options)):
        yield
