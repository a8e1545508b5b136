"""A line below a notebook's cell that says how far its ranks are."""

from __future__ import annotations

import contextlib
import contextvars
import html
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["notebook_line"]

_FIRST_SECONDS = 1.0  # what ends sooner shows nothing
_REFRESH_SECONDS = 0.5


@contextlib.contextmanager
def notebook_line(line: Callable[[], str]) -> Iterator[None]:
    """A block in which a notebook's cell shows what `line`, called on another thread, says; it goes with the block."""
    if not _is_in_notebook():
        yield
        return
    ended = threading.Event()
    # The context says which cell it is.
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(_show, line, ended), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_in_notebook() -> bool:
    """Whether a Jupyter kernel runs this, not a terminal's IPython or none at all."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _show(line: Callable[[], str], ended: threading.Event) -> None:
    ipython = importlib.import_module("IPython.display")
    if ended.wait(_FIRST_SECONDS):
        return
    shown = ipython.display(ipython.HTML(_markup(line())), display_id=True)
    while not ended.wait(_REFRESH_SECONDS):
        shown.update(ipython.HTML(_markup(line())))
    shown.update(ipython.HTML(""))


def _markup(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"
