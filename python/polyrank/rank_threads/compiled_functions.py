"""Calls of compiled functions by ranks that are threads: NOTE [Compiled functions of ranks]."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType

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


def _wrap_reset_code(original: Callable[[CodeType], None]) -> Callable[[CodeType], None]:
    """`reset_code`, with which `torch._dynamo.reset()` lets go of what was compiled of each code.

    Another rank may be about to run it, or wait in the compiler that makes it. So it stays, and the rank gets regions
    in which nothing is compiled.
    """

    @functools.wraps(original)
    def reset_code(code: CodeType) -> None:
        own = rank_globals()
        if own is None:
            original(code)
        else:
            own.compiled.forget_regions(own.rank_thread.rank)

    return reset_code


ROWS = (
    Row(
        "torch._C._dynamo.eval_frame",
        "set_eval_frame_isolate_recompiles_id",
        _wrap_set_region,
        "lets one rank call what was compiled for another, which has that one's rank in it",
    ),
    Row(
        "torch._C._dynamo.eval_frame",
        "reset_code",
        _wrap_reset_code,
        "lets one rank free what others are about to run",
    ),
)
