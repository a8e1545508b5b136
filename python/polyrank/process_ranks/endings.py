"""How ranks ended, and which of them is the cause."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Ending", "Failure", "causes_first", "text_of_status"]


@dataclass(frozen=True)
class Failure:
    """What a rank told when it failed; of text and numbers alone, so that it can be sent."""

    rank: int
    at: float  # time.monotonic(), which is one clock for all processes
    kind: str  # the exception's type
    message: str
    report: str  # as printed: a traceback, or what sys.exit() says
    exit_code: int
    is_exit: bool = False  # sys.exit(), instead of an exception
    is_found_by_all: bool = False  # a mismatch or deadlock, which all who take part raise at once
    exception: bytes | None = None  # pickled, where the caller asked for it


@dataclass
class Ending:
    """How one rank ended."""

    rank: int
    status: int | None = None  # as os.waitpid() gives it; None: it runs
    at: float = 0.0
    failure: Failure | None = None
    record: Any = None  # what it told last; None: it did not get to that
    was_ended: bool = False  # by the launcher

    @property
    def is_death(self) -> bool:
        """Whether it ended by a signal or os._exit(), without a word."""
        no_word = self.record is None and self.failure is None
        return self.status is not None and no_word and not self.was_ended

    @property
    def has_ended_well(self) -> bool:
        """Whether it came to its end, and said so."""
        return self.record is not None and self.failure is None

    @property
    def exit_code(self) -> int:
        """As a shell has it: 128 + n for signal n."""
        if self.status is None:
            return 0
        code = os.waitstatus_to_exitcode(self.status)
        return 128 - code if code < 0 else code

    @property
    def has_failed(self) -> bool:
        """Whether the run failed because of it, or it because of others."""
        return self.failure is not None or (self.is_death and self.exit_code != 0)


def text_of_status(status: int) -> str:
    """What ended a process, in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"os._exit({code})"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def causes_first(endings: Sequence[Ending], *, silence_fails: bool = False) -> list[Ending]:
    """Those that failed: the one that was first, then the others by rank.

    With `silence_fails` also those that ended well without a word.

    A mismatch or a deadlock is raised by all who take part at the same time, so that the lowest of
    these ranks is the first.
    """
    failed = [
        ending for ending in endings if ending.has_failed or (silence_fails and ending.is_death)
    ]
    if not failed:
        return []
    first = min(failed, key=_time_of)
    if first.failure is not None and first.failure.is_found_by_all:
        first = next(
            ending
            for ending in failed
            if ending.failure is not None
            and (ending.failure.kind, ending.failure.message)
            == (first.failure.kind, first.failure.message)
        )
    return [first, *(ending for ending in failed if ending is not first)]


def _time_of(ending: Ending) -> float:
    return ending.at if ending.failure is None else ending.failure.at
