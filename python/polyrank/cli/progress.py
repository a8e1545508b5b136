"""A line in the terminal, while a program runs, that says how far it is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from polyrank.any_world.progress import ProgressLine
from polyrank.any_world.rank_names import number_of_ranks
from polyrank.worlds.run_options import RunOptions

__all__ = ["Progress", "progress"]

_REFRESH_SECONDS = 0.25


class Progress:
    """The line, which rich asks for a dozen times a second; `more` says what else there is to tell."""

    def __init__(self, options: RunOptions, more: Callable[[], str] | None = None) -> None:
        self._more = more or str
        which = "" if options.rank is None else f"rank {options.rank:,} of "
        self._now = ProgressLine(
            f"{options.script} on {which}{number_of_ranks(options.world_size)}"
        )
        self._made = 0.0
        self._shown = Text()

    def __rich__(self) -> Text:
        now = time.monotonic()
        if now - self._made >= _REFRESH_SECONDS:
            self._made = now
            text = "  ".join(filter(None, (self._now.text(), self._more())))
            self._shown = Text(text, no_wrap=True, overflow="ellipsis")
        return self._shown


@contextlib.contextmanager
def progress(options: RunOptions, more: Callable[[], str] | None = None) -> Iterator[None]:
    """A block in which the line is shown, where standard error is a terminal that no rank has."""
    console = Console(file=sys.stderr)
    if not console.is_terminal or options.debug_rank is not None:
        yield
        return
    with console.status(Progress(options, more)):
        yield
