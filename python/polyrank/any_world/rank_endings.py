"""How threads that take turns end: by an error, or by Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

__all__ = ["join_threads", "text_of", "text_of_unfinished"]


def text_of(error: BaseException) -> str:
    """Type and text of what a thread raised, as the others are told."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as unprintable:  # noqa: BLE001 - whatever its __str__ does, the thread must end
        return f"{type(error).__name__} (its text can't be had: {type(unprintable).__name__})"


def text_of_unfinished(lines: str) -> str:
    """What to say of launches that ranks left behind, a line for each."""
    return (
        f"ranks ended with launches that are not complete:\n{lines}"
        "Receive each message, launch each collective on all members of its group, wait for what "
        "is asynchronous, and leave its tensors alone until then."
    )


def join_threads(
    threads: Sequence[threading.Thread],
    stop: Callable[[], None],
    wait: Callable[[int], None] | None = None,
) -> None:
    """Wait for all threads; on Ctrl-C call `stop`, which ends them, and wait all the same.

    `wait`, given their number, returns when they are about to end.
    """
    try:
        if wait is not None:
            wait(len(threads))
        for thread in threads:
            thread.join()
    except BaseException:
        stop()
        for thread in threads:
            thread.join()
        raise
