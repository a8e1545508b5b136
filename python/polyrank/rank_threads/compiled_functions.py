"""Calls of compiled functions by ranks that are threads: NOTE [Compiled functions of ranks]."""

from __future__ import annotations

import functools
from collections.abc import Callable

from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.replacing.row import Row

__all__ = ["ROWS"]


def _wrap_set_region(original: Callable[[int], int]) -> Callable[[int], int]:
    """`set_eval_frame_isolate_recompiles_id`, which each call of a compiled function calls."""

    @functools.wraps(original)
    def set_region(region: int) -> int:
        own = rank_globals()
        if own is None:
            return original(region)
        own.compiled.exchange_switches(original)
        return original(own.compiled.region(own.rank_thread.rank, region))

    return set_region


ROWS = (
    Row(
        "torch._C._dynamo.eval_frame",
        "set_eval_frame_isolate_recompiles_id",
        _wrap_set_region,
        "lets one rank call what was compiled for another, which has that one's rank in it",
    ),
)
