"""How ranks are named in what is told."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank._C import RankSet

__all__ = ["rank_names"]


def rank_names(ranks: Sequence[int]) -> str:
    """Give their names: "rank 3", or "ranks 0-2,5"."""
    return f"rank{'s' if len(ranks) > 1 else ''} {RankSet(list(ranks))}"
