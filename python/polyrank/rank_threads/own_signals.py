"""Signal handlers of ranks that are threads: each rank has those that it sets, as a process has.

Python runs handlers on a process's main thread, which waits for the ranks meanwhile. So the main
thread sets one handler for the signals that ranks handle. It calls each rank's own on a thread of
that rank; what a rank's handler raises is raised in the rank's program. Where a rank that has none
would end by the signal, the run ends, as without handlers.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import ctypes
import functools
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import Any

from polyrank import _C
from polyrank.errors import UnsupportedOpError
from polyrank.rank_threads.paused import paused
from polyrank.rank_threads.rank_globals import RankGlobals, rank_globals, thread_numbers
from polyrank.rank_threads.started_threads import start_thread_of

__all__ = ["BUILTINS", "MainThread", "RankSignals"]

Function = Callable[..., Any]
# What a signal is handled by that a rank set no handler for, or set these for.
_DEFAULT, _IGNORED = int(signal.SIG_DFL), int(signal.SIG_IGN)


class MainThread:
    """The main thread while it waits for ranks, which have it call what it alone may call."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_waiting = threading.current_thread() is threading.main_thread()

    def call(self, function: Callable[[], Any]) -> Any:
        """Call it there, while other ranks run.

        Raises:
            ValueError: the run was not started by the main thread, as Python says.
        """
        if not self._is_waiting:
            raise ValueError("signal only works in main thread of the main interpreter")
        result: Future[Any] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                result.set_exception(error)

        def call() -> Any:
            self._calls.put(run)
            return result.result()

        return paused(call)

    def told_of_end(self) -> None:
        """A rank is over, as its thread says."""
        self._calls.put(None)

    def wait(self, num_ranks: int) -> None:
        """Serve ranks until that many are over."""
        while num_ranks > 0:
            call = self._calls.get()
            if call is None:
                num_ranks -= 1
            else:
                call()


class RankSignals:
    """Which handlers the ranks of a run have."""

    def __init__(self) -> None:
        self.main = MainThread()
        self._handlers: dict[int, dict[int, Any]] = {}  # by signal and rank
        self._of_process: dict[int, Any] = {}  # which we have replaced
        self._living: dict[int, RankGlobals] = {}  # by rank

    @contextlib.contextmanager
    def of_rank(self, own: RankGlobals) -> Iterator[None]:
        """A block in which a rank's program runs."""
        self._living[own.rank_thread.rank] = own
        try:
            yield
        finally:
            del self._living[own.rank_thread.rank]

    def set_handler(self, own: RankGlobals, number: int, handler: Any, original: Function) -> Any:
        """`_signal.signal` on a rank: returns its handler so far."""
        if not callable(handler) and handler not in (_DEFAULT, _IGNORED):
            raise TypeError(
                "signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object"
            )
        if number not in self._of_process:
            self.main.call(lambda: self._place(number, original))
        earlier = self.handler_of(own, number)
        self._handlers.setdefault(number, {})[own.rank_thread.rank] = handler
        return earlier

    def handler_of(self, own: RankGlobals, number: int) -> Any:
        """A rank's handler: that of a fresh process until it sets one."""
        fresh = signal.default_int_handler if number == signal.SIGINT else _DEFAULT
        return self._handlers.get(number, {}).get(own.rank_thread.rank, fresh)

    def restore(self) -> None:
        """Give the process its own back: on the main thread, after the ranks."""
        for number, handler in self._of_process.items():
            signal.signal(number, handler)
        self._of_process.clear()

    def _place(self, number: int, original: Function) -> None:
        if number not in self._of_process:  # another rank may have asked for it meanwhile
            self._of_process[number] = original(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """What the main thread does about a signal."""
        handlers = [(own, self.handler_of(own, number)) for own in tuple(self._living.values())]
        for own, handler in handlers:
            if _is_of_program(handler):
                start_thread_of(own, _on_rank, (own, handler, number))
        ends = (not _is_of_program(handler) and handler != _IGNORED for _, handler in handlers)
        if handlers and not any(ends):
            return
        of_process = self._of_process[number]
        if callable(of_process):
            of_process(number, frame)
        elif of_process == _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def _is_of_program(handler: Any) -> bool:
    return callable(handler) and handler is not signal.default_int_handler


def _on_rank(own: RankGlobals, handler: Function, number: int) -> None:
    """Call a rank's handler on a thread of the rank, beside its program."""
    first = own.rank_thread.thread
    ident = next(
        (ident for ident, thread in tuple(thread_numbers.items()) if thread == first), None
    )
    if ident is None:  # it is over
        return
    try:
        handler(int(number), sys._current_frames().get(ident))  # as the system's, not as `signal`'s
    except BaseException as error:  # noqa: BLE001 - the program's
        _raise_in(ident, error)


def _raise_in(ident: int, error: BaseException) -> None:
    """Raise it in another thread, where that runs Python next."""
    # Python takes a class, and makes the error there.
    kind = type(error)
    same = type(kind.__name__, (kind,), {"__new__": lambda *_: error})
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(same))


# --- Builtin functions, as outside_waits.py has them ---------------------------------------------


def _set(original: Function, number: int, handler: Any) -> Any:
    own = rank_globals()
    current = _C.RankThread.current()
    if own is None or current is None or current.thread != own.rank_thread.thread:
        return original(number, handler)  # an error, as on any thread that a program starts
    return own.signals.set_handler(own, number, handler, original)


def _get(original: Function, number: int) -> Any:
    own = rank_globals()
    original(number)  # checks
    return original(number) if own is None else own.signals.handler_of(own, number)


def _raise(original: Function, number: int) -> Any:
    """`raise_signal`: the rank's."""
    own = rank_globals()
    handler: Any = _DEFAULT if own is None else own.signals.handler_of(own, number)
    if _is_of_program(handler):
        handler(int(number), sys._getframe(1))
    elif handler != _IGNORED:
        return original(number)
    return None


def _kill(original: Function, process: int, number: int) -> Any:
    if process != os.getpid():
        return original(process, number)
    return _raise(functools.partial(original, process), number)


def _set_timer(original: Function, *args: Any) -> Any:
    """`alarm(seconds)`, `setitimer(which, seconds, interval)`."""
    seconds = args[min(len(args) - 1, 1)]
    if seconds == 0:  # none is set
        return 0 if len(args) == 1 else (0.0, 0.0)
    raise UnsupportedOpError(
        f"{original.__name__}({', '.join(map(str, args))}): a process has one timer, and the ranks of the "
        "threads world are one process. Use threading.Timer, or run the program in the processes world "
        "(`polyrank run --world processes`)."
    )


BUILTINS: tuple[tuple[Any, str, Function], ...] = (
    (_signal, "signal", _set),
    (_signal, "getsignal", _get),
    (_signal, "raise_signal", _raise),
    (_signal, "alarm setitimer", _set_timer),
    (os, "kill", _kill),
)
