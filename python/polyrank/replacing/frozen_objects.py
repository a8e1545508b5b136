"""Objects that `gc.freeze()` has set aside, of which the garbage collector tells nobody."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["with_frozen_objects"]


@contextlib.contextmanager
def with_frozen_objects() -> Iterator[None]:
    """A block in which `gc.get_objects()` and `gc.get_referrers()` look among frozen objects, too.

    Afterwards they are frozen again, with what has come to be meanwhile.
    """
    is_frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    try:
        yield
    finally:
        if is_frozen:
            gc.freeze()
