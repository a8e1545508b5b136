"""Code that acts for one rank of a lockstep program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.tensor.active_modes import active_modes, local_tensor_mode

__all__ = ["OneRank", "as_rank"]


class OneRank:
    """What stands in the place of the mode while code acts for one rank.

    Ranks and mesh coordinates are plain ints, also for code inside torch, and factories make plain
    tensors.
    """

    _disable = False
    has_rank_dependent_get_rank = True

    def __init__(self, rank: int) -> None:
        self.ranks = frozenset({rank})
        self.rank_set = _C.RankSet([rank])

    def disable(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to switch off: tensors are plain already."""
        return contextlib.nullcontext()

    enable = disable


@contextlib.contextmanager
def as_rank(rank: int) -> Iterator[None]:
    """Run the block as `rank` alone would, apart from collectives, which it must not launch."""
    mode = local_tensor_mode()
    if mode is None or rank not in mode.ranks:
        raise UsageError(f"there is no rank {rank} to act for: no active mode runs it")
    alone: Any = OneRank(rank)
    with mode.disable():
        active_modes().append(alone)
        try:
            yield
        finally:
            active_modes().remove(alone)
