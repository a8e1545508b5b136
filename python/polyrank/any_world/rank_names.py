"""How ranks are named in what is told."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["number_of_ranks", "rank_names"]


def number_of_ranks(count: int) -> str:
    """Give "1 rank", or "4,096 ranks"."""
    return f"{count:,} rank{'' if count == 1 else 's'}"


def rank_names(ranks: Sequence[int]) -> str:
    """Give their names: "rank 3", or "ranks 0-2,5"."""
    from polyrank._C import (
        RankSet,  # with PyTorch, for which the command line's answers need not wait
    )

    return f"rank{'s' if len(ranks) > 1 else ''} {RankSet(list(ranks))}"
