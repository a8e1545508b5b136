"""`atexit` on a rank: its functions are called at its end, where its groups are."""

from __future__ import annotations

from polyrank.any_world.exit_functions import ExitFunctions, exit_rows
from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["ROWS"]


def _of_rank() -> ExitFunctions | None:
    own = rank_globals()
    return None if own is None else own.exit_functions


ROWS = exit_rows(_of_rank)
