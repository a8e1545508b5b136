"""Classes that `torch.load` takes with `weights_only`: each rank's own, on top of those of modules.

A module that ranks share says once, as the first rank loads it, what it has that is safe: for all ranks,
and for the process after the run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from polyrank.rank_threads.own_modules import loads_shared
from polyrank.rank_threads.rank_globals import rank_globals
from polyrank.replacing.row import Row

__all__ = ["ROWS"]

_UNPICKLER = "torch._weights_only_unpickler"
_NAME = "_marked_safe_globals_set"


def _with_those_of_rank(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that reads or changes the set: what it finds, and leaves, is the rank's."""

    @functools.wraps(original)
    def call(*args: Any) -> Any:
        own = rank_globals()
        if own is None:
            return original(*args)
        if loads_shared(sys._getframe(1), own.operators.modules):
            return original(*args)
        holder = vars(sys.modules[_UNPICKLER])
        of_modules = holder[_NAME]
        before = holder[_NAME] = (of_modules | own.safe_globals) - own.unsafe_globals
        try:
            return original(*args)
        finally:
            after, holder[_NAME] = holder[_NAME], of_modules
            added, removed = after - before, before - after
            own.safe_globals = (own.safe_globals | added) - removed
            own.unsafe_globals = (own.unsafe_globals | removed) - added

    return call


ROWS = tuple(
    Row(_UNPICKLER, name, _with_those_of_rank, "has one process's safe classes")
    for name in (
        "_add_safe_globals",
        "_clear_safe_globals",
        "_get_safe_globals",
        "_get_user_allowed_globals",
        "_remove_safe_globals",
    )
)
