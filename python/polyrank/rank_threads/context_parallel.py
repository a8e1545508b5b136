"""DTensor's rules of ring attention, which are one for all ranks that are threads.

`context_parallel()` puts them into DTensor's table of rules, which all ranks read, and takes them out at the
end. What else it sets is each rank's own (own_state.py).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

_holders: weakref.WeakSet[RankGlobals] = weakref.WeakSet()  # who is in a `context_parallel()` block


def _register(original: Callable[[], None]) -> None:
    if (own := rank_globals()) is not None:
        _holders.add(own)
    original()  # which does nothing where they are there


def _unregister(original: Callable[..., None], clear_the_cache: bool = False) -> None:
    if (own := rank_globals()) is not None:
        _holders.discard(own)
    if not _holders:
        original(clear_the_cache)


_RULES = "torch.distributed.tensor.experimental._context_parallel._sharding_rules"
_WHY = "the first rank that ends a block would take the rules from all"

ROWS = (
    Row(_RULES, "register_cp_sharding_rules", with_original(_register), _WHY, is_optional=True),
    Row(_RULES, "unregister_cp_sharding_rules", with_original(_unregister), _WHY, is_optional=True),
)
