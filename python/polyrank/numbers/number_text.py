"""The text of a number that differs between ranks, as C++ writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polyrank import _C

__all__ = ["number_text"]

_MOST_COHORTS = 16  # in a text; as local_number_text.cc
_FIRST_COHORTS = 6


def number_text(node: str, values: Mapping[int, Any], write: Callable[[Any], str]) -> str:
    """As C++ writes a number: "LocalIntNode({0-1: 5, 2: 7})", with the values as `write` says."""
    cohorts: dict[str, list[int]] = {}  # by what knows NaN and the sign of 0
    for rank, value in values.items():
        cohorts.setdefault(repr(value), []).append(rank)
    parts = [f"{_C.RankSet(ranks)}: {write(values[ranks[0]])}" for ranks in cohorts.values()]
    tail = ""
    if len(parts) > _MOST_COHORTS:
        tail = f", {len(parts)} cohorts"
        parts[_FIRST_COHORTS:-1] = ["…"]
    return f"{node}({{{', '.join(parts)}}}{tail})"
