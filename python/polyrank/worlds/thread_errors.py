"""DivergenceErrors that end a thread of the program's: they end the run, as on the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from polyrank.errors import DivergenceError

__all__ = ["threads_end_the_run"]


@contextlib.contextmanager
def threads_end_the_run() -> Iterator[None]:
    """Within this block, on the main thread, one that ends another thread is raised here.

    The main thread may wait for what that thread was to do, and would for ever: a signal wakes it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended_by: list[DivergenceError] = []
    before = threading.excepthook

    def told(what: threading.ExceptHookArgs) -> None:
        before(what)
        if isinstance(what.exc_value, DivergenceError):
            ended_by.append(what.exc_value)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.excepthook = told
    try:
        yield
    except KeyboardInterrupt:
        if ended_by:
            raise ended_by[0] from None
        raise
    finally:
        threading.excepthook = before
