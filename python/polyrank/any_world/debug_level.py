"""TORCH_DISTRIBUTED_DEBUG=DETAIL beside polyrank's own checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch._C._distributed_c10d import DebugLevel, get_debug_level, set_debug_level

__all__ = ["unwrapped_groups"]


@contextlib.contextmanager
def unwrapped_groups() -> Iterator[None]:
    """A block in which PyTorch makes process groups as they are.

    With the debug level DETAIL it puts each into a wrapper that compares the ranks' collectives over
    gloo processes of its own, which do not exist here; polyrank compares them anyway.
    """
    level = get_debug_level()
    if level != DebugLevel.DETAIL:
        yield
        return
    set_debug_level(DebugLevel.INFO)
    try:
        yield
    finally:
        set_debug_level(level)
