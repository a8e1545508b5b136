"""PyTorch's profiler, of which a process has one, where ranks are threads."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from polyrank.errors import UnsupportedOpError
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals
from polyrank.replacing.row import Row

__all__ = ["ROWS"]

# The rank whose profiler runs, gone with its run.
_profiled: weakref.WeakSet[RankGlobals] = weakref.WeakSet()


def _wrap_start(original: Callable[..., Any]) -> Callable[..., Any]:
    """One rank at a time: a second session would end the first, and wait for it forever."""

    @functools.wraps(original)
    def start(*args: Any, **options: Any) -> Any:
        own = rank_globals()
        if own is not None:
            for other in _profiled:
                if other is not own and not other.stopped.is_set():
                    raise UnsupportedOpError(
                        f"rank {own.rank_thread.rank} starts a profiler while that of rank "
                        f"{other.rank_thread.rank} runs: PyTorch has one a process, which all ranks "
                        "share in the threads world. Profile one rank after the other, or run ranks "
                        'as processes (world "processes")'
                    )
        started = original(*args, **options)
        if own is not None:
            _profiled.add(own)
        return started

    return start


def _wrap_end(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def end(*args: Any, **options: Any) -> Any:
        own = rank_globals()
        if own is not None:
            _profiled.discard(own)
        return original(*args, **options)

    return end


_WHY = "has one session a process"
_PROFILER = "torch.autograd.profiler"

ROWS = (
    Row(_PROFILER, "_prepare_profiler", _wrap_start, _WHY),
    Row(_PROFILER, "_enable_profiler", _wrap_start, _WHY),
    Row(_PROFILER, "_disable_profiler", _wrap_end, _WHY),
)
