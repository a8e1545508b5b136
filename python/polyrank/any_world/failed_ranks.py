"""What ranks raised, as one error."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polyrank.errors import CollectiveError, Error

__all__ = [
    "RanksFailedError",
    "TracebackOfRankError",
    "is_ended_by_another",
    "note_rank",
    "rank_of",
]


class RanksFailedError(ExceptionGroup[Exception], Error):
    """What ranks raised, the cause first; each error has a note that names its rank."""

    def derive(self, excs: Sequence[Exception], /) -> RanksFailedError:  # type: ignore[override]
        """As ExceptionGroup's."""
        return RanksFailedError(self.message, excs)


class TracebackOfRankError(Exception):
    """Stands as the cause of what a rank raised: its traceback, which can't be sent, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def note_rank(error: BaseException, rank: int, more: str = "") -> None:
    """Say in a note of an error on which rank it was raised."""
    error.add_note(f"raised on rank {rank}{more}")


def rank_of(error: BaseException) -> int | None:
    """The rank that an error's note names; None: it has no such note."""
    for note in getattr(error, "__notes__", ()):
        if (found := re.match(r"raised on rank (\d+)", note)) is not None:
            return int(found[1])
    return None


def is_ended_by_another(error: BaseException) -> bool:
    """Whether a rank raised it since another one had failed: cpp/polyrank/matching words it so."""
    return isinstance(error, CollectiveError) and "failed, so the run ends" in str(error)
