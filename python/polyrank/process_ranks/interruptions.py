"""Signals that the launcher gets while ranks run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence

__all__ = ["held_back", "noted_signals", "release"]


@contextlib.contextmanager
def noted_signals(numbers: Sequence[signal.Signals]) -> Iterator[tuple[int, ...]]:
    """Have these signals do nothing but leave a byte, their number, in a pipe; give its two ends.

    Signals that were ignored stay so. Outside of the main thread, where Python handles no signals,
    there is no pipe, and nothing is given.
    """
    if threading.current_thread() is not threading.main_thread():
        yield ()
        return
    source, sink = os.pipe()
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    handlers = {
        number: signal.signal(number, lambda *_: None)
        for number in numbers
        if signal.getsignal(number) != signal.SIG_IGN
    }
    before = signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    try:
        yield source, sink
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(source)
        os.close(sink)


@contextlib.contextmanager
def held_back(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """Let signals of the thread, and of processes that it forks, come later: see release()."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release(numbers: Sequence[signal.Signals]) -> None:
    """Let them come now, in a forked process that has its own handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
