"""Threads that a rank's program starts: they are the rank, too.

NOTE [Threads of a rank] in rank_turns.h says how they take turns.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from polyrank import _C
from polyrank.any_world.ended_threads import join_threads_of_program, let_pools_end
from polyrank.errors import CollectiveError, DivergenceError
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals, thread_globals
from polyrank.replacing.row import Row

__all__ = [
    "ROWS",
    "StartedThread",
    "start_as_rank",
    "start_thread_of",
    "started_threads_ended",
]


class StartedThread:
    """One of them, from its start to its end."""

    def __init__(self, own: RankGlobals, function: Callable[..., Any]) -> None:
        self._own = own
        target = function.__self__ if isinstance(function, types.MethodType) else None
        self.thread = target if isinstance(target, threading.Thread) else None
        self.rank_thread = own.rank_thread.start_thread()
        self.is_over = False
        self._running = threading.Lock()  # held as long as it runs
        self._running.acquire()
        self._awaited: list[_C.RankEvent] = []
        own.started[self.rank_thread.thread] = self

    def run(self, function: Callable[..., Any], args: Any, options: dict[str, Any]) -> None:
        """Run the program's function, on the thread."""
        try:
            try:
                self.rank_thread.begin()
            except CollectiveError:  # the run has failed meanwhile
                return
            with thread_globals(self._own), torch.autograd.set_multithreading_enabled(False):
                function(*args, **options)
        finally:
            self._finish()
            self.rank_thread.end()

    def abandon(self) -> None:
        """It could not be started."""
        self._finish()
        self.rank_thread.abandon()

    def wait(self, timeout: float | None) -> bool:
        """Let others run until it is over, or time is up."""
        current = _C.RankThread.current()
        if self.is_over or current is None or not current.takes_turns:
            return True
        if timeout is None:
            event = _C.RankEvent(current, "the end of a thread that it has started")
            self._awaited.append(event)
            event.wait()
            return True
        if is_over := self._running.acquire(timeout=max(timeout, 0)):
            self._running.release()
        return is_over

    def _finish(self) -> None:
        self.is_over = True
        self._own.started.pop(self.rank_thread.thread, None)
        self._running.release()
        for event in self._awaited:
            event.set()


def start_as_rank(
    original: Callable[..., Any],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any] | None = None,
) -> Any:
    """`_thread.start_new_thread` for a rank's program."""
    own = rank_globals()
    if own is None or own.is_forked or not callable(function):
        return original(function, args, {} if options is None else options)
    return _start(original, own, function, args, {} if options is None else options)


def start_thread_of(own: RankGlobals, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Start a thread of a rank, from a thread that is no rank's."""
    _start(_thread.start_new_thread, own, function, args, {})


def _start(
    start: Callable[..., Any],
    own: RankGlobals,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    started = StartedThread(own, function)
    try:
        return start(started.run, (function, args, options))
    except BaseException:
        started.abandon()
        raise


def _join_as_rank(original: Callable[..., Any]) -> Callable[..., Any]:
    """`threading.Thread.join` that lets others run."""

    @functools.wraps(original)
    def join(self: threading.Thread, timeout: float | None = None) -> None:
        own = rank_globals()
        started = None if own is None else own.started_as(self)
        if started is not None and self is not threading.current_thread():
            if not started.wait(timeout):
                return
            timeout = None  # it ends now
        original(self, timeout)

    return join


def _main_thread_of_rank(original: Callable[[], threading.Thread]) -> Callable[..., Any]:
    """`threading.main_thread`: a rank's is its first."""

    @functools.wraps(original)
    def main_thread() -> threading.Thread:
        own = rank_globals()
        return original() if own is None or own.is_forked else own.main_thread

    return main_thread


def _threads_of_rank(original: Callable[[], list[threading.Thread]]) -> Callable[..., Any]:
    """`threading.enumerate`: a rank sees its own."""

    @functools.wraps(original)
    def enumerate() -> list[threading.Thread]:  # noqa: A001 - as there
        own = rank_globals()
        if own is None or own.is_forked:
            return original()
        threads = {id(started.thread) for started in own.started.values()}
        threads.add(id(own.main_thread))
        return [thread for thread in original() if id(thread) in threads]

    return enumerate


def _count_of_rank(original: Callable[[], int]) -> Callable[..., Any]:
    @functools.wraps(original)
    def active_count() -> int:
        return original() if rank_globals() is None else len(threading.enumerate())

    return active_count


_OTHERS = "would count other ranks' threads"

ROWS = (
    Row("threading:Thread", "join", _join_as_rank, "keeps the turn, so that no other rank runs"),
    Row("threading", "main_thread", _main_thread_of_rank, "would be no thread of the rank"),
    Row("threading", "enumerate", _threads_of_rank, _OTHERS),
    Row("threading", "active_count", _count_of_rank, _OTHERS),
)


@contextlib.contextmanager
def started_threads_ended(own: RankGlobals) -> Iterator[None]:
    """Around a rank's program: at its end its threads are joined, as a process does.

    Daemons end where they stand. After a failure nobody is waited for.
    """
    # Threads that it starts are no daemons unless they are told to be, as in a process.
    threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
    try:
        yield
    except (Exception, DivergenceError):
        _end(own, joins=False)
        raise
    except BaseException:  # SystemExit
        _end(own, joins=True)
        raise
    _end(own, joins=True)


def _end(own: RankGlobals, *, joins: bool) -> None:
    if not own.started:
        return
    try:
        let_pools_end()
        if joins:
            join_threads_of_program(functools.partial(_started_threads, own))
    finally:
        own.rank_thread.end_threads()


def _started_threads(own: RankGlobals) -> list[threading.Thread]:
    threads = (started.thread for started in own.started.values())
    return [thread for thread in threads if thread is not None]
