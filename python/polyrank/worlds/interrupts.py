"""Signals that end a run, as exceptions of the program's."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Terminated", "interrupt_behind", "number_of", "terminated_as_interrupted"]


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a program as Ctrl-C does."""


def number_of(interrupt: KeyboardInterrupt) -> int:
    """The signal that it stands for."""
    return signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT


def interrupt_behind(raised: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that it is, or that some block's end was overtaken by and could not cope with.

    A signal comes between any two lines, so also in the middle of a context manager's entry or exit,
    as those of torch's mode stacks: what then finds its state half made raises an error of its own.
    An error that a program raises in the interrupt's place, `from` it or from None, is the program's.
    """
    error: BaseException | None = raised
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = None if error.__suppress_context__ else error.__context__
    return error


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
