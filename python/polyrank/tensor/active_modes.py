"""Which LocalTensorModes are active here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyrank.tensor.local_tensor_mode import LocalTensorMode

process_modes: list[LocalTensorMode] = []  # the innermost last
_of_thread = threading.local()  # `modes`, in threads that have modes of their own


def active_modes() -> list[LocalTensorMode]:
    """The active modes of the process, or of a thread in own_modes(); the innermost last."""
    modes: list[LocalTensorMode] = getattr(_of_thread, "modes", process_modes)
    return modes


@contextlib.contextmanager
def own_modes() -> Iterator[None]:
    """A block in which this thread's modes are its own.

    Elsewhere a process has one stack of modes, so that threads that autograd starts are in the mode
    of the program.
    """
    _of_thread.modes = []
    try:
        yield
    finally:
        del _of_thread.modes


def local_tensor_mode() -> LocalTensorMode | None:
    """The innermost active mode, enabled or not; None outside of any."""
    modes = active_modes()
    return modes[-1] if modes else None


def enabled_local_tensor_mode() -> LocalTensorMode | None:
    """The innermost active mode if it is enabled, else None."""
    mode = local_tensor_mode()
    return None if mode is None or mode._disable else mode


def maybe_disable_local_tensor_mode() -> AbstractContextManager[None]:
    """A block in which the innermost mode, if there is one, is disabled."""
    mode = local_tensor_mode()
    return contextlib.nullcontext() if mode is None else mode.disable()
