"""What Python does at a program's end, for one whose world ends before this process does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from polyrank.any_world.ended_threads import join_threads_of_program, pools_ended
from polyrank.any_world.exit_functions import ExitFunctions, exit_rows

__all__ = ["ROWS", "program_ended"]

_of_programs: list[ExitFunctions] = []  # one at most: a process runs one script at a time

ROWS = exit_rows(lambda: _of_programs[-1] if _of_programs else None)


@contextlib.contextmanager
def program_ended() -> Iterator[None]:
    """Around a script: afterwards its threads are waited for, then `atexit`'s functions are called.

    After a failure no thread is waited for.
    """
    functions = ExitFunctions()
    others = set(threading.enumerate())
    _of_programs.append(functions)
    try:
        with functions.called_afterwards():
            try:
                yield
            except SystemExit:
                _wait_for_threads_but(others)
                raise
            _wait_for_threads_but(others)
    finally:
        _of_programs.pop()


def _wait_for_threads_but(others: set[threading.Thread]) -> None:
    def started() -> set[threading.Thread]:
        return set(threading.enumerate()) - others

    if any(not thread.daemon for thread in started()):
        with pools_ended():
            join_threads_of_program(started)
