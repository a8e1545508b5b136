"""Forward-mode AD, of which PyTorch has one level a process, in its C++: one rank that is a thread is in it at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from polyrank.errors import UnsupportedOpError
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

_inside: weakref.WeakSet[RankGlobals] = weakref.WeakSet()  # one at most


def _enter(original: Callable[[], int]) -> int:
    own = rank_globals()
    for other in _inside:
        if own is not None and other is not own:
            raise UnsupportedOpError(
                f"rank {other.rank_thread.rank} is in forward-mode AD (torch.autograd.forward_ad, torch.func.jvp) and "
                "waits, so that this rank can't enter it: a process has one level of it. Ranks that are threads launch "
                "no collective in it; processes may (`polyrank run --world processes`)"
            )
    level = original()
    if own is not None:
        _inside.add(own)
    return level


def _exit(original: Callable[..., None], *, level: int | None = None) -> None:
    original(level=level)
    if (own := rank_globals()) is not None:
        _inside.discard(own)


_WHY = "PyTorch would tell the second rank of a nested level, which it has not"

ROWS = (
    Row("torch.autograd.forward_ad", "enter_dual_level", with_original(_enter), _WHY),
    Row("torch.autograd.forward_ad", "exit_dual_level", with_original(_exit), _WHY),
)
