"""Says where ranks stand when nothing happens any more."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch

import polyrank
from polyrank import _C
from polyrank.rank_threads.rank_globals import thread_numbers

__all__ = ["watched"]

_FIRST_SECONDS = 10.0  # of silence until it is told; then three times as many, and so on
_LOOK_SECONDS = 0.5
# Silence after which nobody is left who could release a lock. Twice: they look again in between.
_STANDSTILL_SECONDS = 1.0
# Folders of what is not the program, with a slash at the end.
_PACKAGES = tuple(f"{Path(str(package.__file__)).parent}/" for package in (polyrank, torch))
_LIBRARY = f"{sysconfig.get_path('stdlib')}/"


def _is_program(file: str) -> bool:
    if file.startswith((*_PACKAGES, "<frozen")):
        return False
    return not file.startswith(_LIBRARY) or "-packages" in file


def _place(frame: FrameType | None) -> str:
    """The program's line, and the function that it has called."""
    called = ""
    while frame is not None and not _is_program(frame.f_code.co_filename):
        is_ours = frame.f_code.co_filename.startswith(_PACKAGES[0])
        called, frame = "" if is_ours else frame.f_code.co_name, frame.f_back
    if frame is None:
        return f"in {called}" if called else ""
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return f"in {called}  {where}" if called else f"at {where}"


class _Watch:
    def __init__(self, turns: _C.RankTurns, ranks: Sequence[threading.Thread]) -> None:
        self._turns = turns
        self._ranks = ranks
        self._is_over = threading.Event()

    def run(self) -> None:
        events, since = self._turns.num_events(), time.monotonic()
        told_after = _FIRST_SECONDS
        while not self._is_over.wait(_LOOK_SECONDS):
            now = time.monotonic()
            if (new_events := self._turns.num_events()) != events:
                events, since, told_after = new_events, now, _FIRST_SECONDS
            silence = now - since
            if silence >= _STANDSTILL_SECONDS:
                self._turns.end_standstill(may_fail=not self._are_there_others())
            if silence >= told_after:
                told_after *= 3
                self._tell(silence)

    def stop(self) -> None:
        self._is_over.set()

    def _are_there_others(self) -> bool:
        """Whether threads of Python live that take no turns, and may release a lock."""
        known = {threading.main_thread(), threading.current_thread(), *self._ranks}
        return any(
            thread not in known and thread.ident not in thread_numbers
            for thread in threading.enumerate()
        )

    def _tell(self, silence: float) -> None:
        frames = sys._current_frames()
        places = {
            number: _place(frames.get(ident)) for ident, number in tuple(thread_numbers.items())
        }
        sys.__stderr__.write(  # type: ignore[union-attr]
            f"polyrank: for {silence:.0f} s no rank has launched anything.\n"
            + self._turns.describe(places)
        )
        sys.__stderr__.flush()  # type: ignore[union-attr]


@contextlib.contextmanager
def watched(turns: _C.RankTurns, ranks: Sequence[threading.Thread]) -> Iterator[None]:
    """A block in which a thread watches ranks, and says where they stand when nothing happens."""
    watch = _Watch(turns, ranks)
    thread = threading.Thread(target=watch.run, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop()
        thread.join()
