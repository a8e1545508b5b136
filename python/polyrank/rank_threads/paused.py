"""Calls that a rank thread makes while others run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyrank import _C

__all__ = ["paused"]


def paused(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call it without the turn, on a rank's thread, and take the turn again.

    Requires: the calling thread is a rank's.
    """
    thread = _C.RankThread.current()
    assert thread is not None  # noqa: S101 - as required
    thread.pause()
    try:
        return function(*args, **options)
    finally:
        thread.resume()
