"""What runs when a forked process ends: what it registers itself, not what its launcher has."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.process
import multiprocessing.util
import weakref

__all__ = ["leave_launchers_exit_functions"]


def leave_launchers_exit_functions(*, is_started_anew: bool) -> None:
    """Let no function of the launcher's run at this process's end.

    A finalizer would remove the launcher's temporary folders, and multiprocessing would end its
    children.

    Args:
        is_started_anew: Whether the launcher has nothing but what the imports of a new process
            register too; that stays.
    """
    for finalizer in tuple(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    multiprocessing.process._children.clear()  # type: ignore[attr-defined]
    if not is_started_anew:
        atexit._clear()
        for function in (
            logging.shutdown,
            multiprocessing.util._exit_function,  # type: ignore[attr-defined]
            weakref.finalize._exitfunc,  # type: ignore[attr-defined]
        ):
            atexit.register(function)
