"""Signals that end a run, as exceptions of the program's."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Terminated", "number_of", "terminated_as_interrupted"]


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a program as Ctrl-C does."""


def number_of(interrupt: KeyboardInterrupt) -> int:
    """The signal that it stands for."""
    return signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within this block SIGTERM raises Terminated, on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
