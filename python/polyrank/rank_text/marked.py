"""Text that has numbers in it that differ between ranks, and what each rank has in its place."""

from __future__ import annotations

import bisect
import re
from typing import Any

from polyrank.errors import DivergenceError

__all__ = [
    "MarkedText",
    "is_rank_dependent_text",
    "text_of_ranks",
    "text_on_ranks",
]

# In any case: `f"step_{rank}".upper()` is such a text.
MARKER = re.compile(
    r"Local(?:Int|Float|Bool)Node\(\{[^}]*\}[^)]*\)|PerRank\(ranks? .*\)"
    r"|LocalTensor\(\d+ ranks? in [^\n]*(?:\n  [^\n]*)*\n\)",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"([\d,-]+): ([^,}]*)")


def is_rank_dependent_text(text: str) -> bool:
    """Whether a number that differs between ranks was formatted into the text."""
    return MARKER.search(text) is not None


class _Values:
    """The values of one number, by ranges of ranks."""

    def __init__(self, text: str) -> None:
        if "…" in text or not text.lower().startswith("local") or text[5] in "tT":
            why = (
                "ranks hold too many different values for the text of each to be known"
                if "…" in text
                else "text that shows what all ranks hold is no rank's own"
            )
            raise DivergenceError(
                f"{why}: {text.splitlines()[0]}. Exchange the values themselves by collectives, or run the program in the "
                "threads world (`polyrank run --world threads`)."
            )
        ranges: list[tuple[int, int, str]] = []
        for ranks, value in _ENTRY.findall(text):
            for part in ranks.split(","):
                first, _, last = part.partition("-")
                ranges.append((int(first), int(last or first), value))
        self._ranges = sorted(ranges)
        self.starts = [first for first, _, _ in self._ranges]

    @property
    def ranks(self) -> list[int]:
        return [rank for first, last, _ in self._ranges for rank in range(first, last + 1)]

    @property
    def last_rank(self) -> int:
        return self._ranges[-1][1]

    def on_rank(self, rank: int) -> str:
        place = bisect.bisect_right(self.starts, rank) - 1
        if place < 0 or rank > self._ranges[place][1]:
            raise DivergenceError(f"rank {rank} has no value in text of other ranks' numbers")
        return self._ranges[place][2]


class MarkedText:
    """A text, taken apart where numbers that differ stand in it.

    Raises:
        DivergenceError: the values are too many to be named in it.
    """

    def __init__(self, text: str) -> None:
        text = str.__str__(text)
        self._pieces = MARKER.split(text)
        self._markers = [found[0] for found in MARKER.finditer(text)]
        self._numbers = [_Values(marker) for marker in self._markers]

    def with_digits(self, digits: str) -> str:
        """The text with a digit in the place of each number, for who takes it for one.

        Requires: there are as many digits as numbers.
        """
        pieces = [self._pieces[0]]
        for digit, piece in zip(digits, self._pieces[1:], strict=False):
            pieces += [digit, piece]
        return "".join(pieces)

    @property
    def markers(self) -> list[str]:
        """The numbers as they are shown."""
        return self._markers

    @property
    def first_ranks(self) -> set[int]:
        """Ranks that stand for all: each other one has the text of the last of them before it."""
        return {rank for number in self._numbers for rank in number.starts}

    @property
    def ranks(self) -> list[int]:
        """All ranks that have a text, from the lowest on."""
        return self._numbers[0].ranks

    @property
    def last_rank(self) -> int:
        """The highest rank that has a text."""
        return self._numbers[0].last_rank

    def on_rank(self, rank: int) -> str:
        """The text with the numbers of one rank.

        Raises:
            DivergenceError: a number in it is not known on that rank.
        """
        own = [self._pieces[0]]
        for number, piece in zip(self._numbers, self._pieces[1:], strict=True):
            own += [number.on_rank(rank), piece]
        return "".join(own)


def text_of_ranks(text_of_first: dict[int, str], last_rank: int) -> str | None:
    """A text that each rank has as a whole; None if it can't be written as one.

    Args:
        text_of_first: By rank; each rank up to the next one of these has the same.
        last_rank: Of all.
    """
    if any(set(",{}\n…") & set(text) for text in text_of_first.values()):
        return None
    firsts = sorted(text_of_first)
    lasts = [*(first - 1 for first in firsts[1:]), last_rank]
    entries = (
        f"{first}-{last}: {text_of_first[first]}" for first, last in zip(firsts, lasts, strict=True)
    )
    return f"LocalIntNode({{{', '.join(entries)}}})"


def text_on_ranks(text: str | bytes, ranks: list[int]) -> dict[int, Any] | None:
    """The text on each rank, which has its own number in it; None if there is none in it.

    Raises:
        DivergenceError: the values are too many to be named in it.
    """
    if isinstance(text, bytes):
        found = text_on_ranks(text.decode(errors="surrogateescape"), ranks)
        if found is None:
            return None
        return {rank: own.encode(errors="surrogateescape") for rank, own in found.items()}
    if not is_rank_dependent_text(text):
        return None
    marked = MarkedText(text)
    return {rank: marked.on_rank(rank) for rank in ranks}
