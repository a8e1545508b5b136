"""Standard streams of a forked process, made anew, as the interpreter makes them at its start."""

from __future__ import annotations

import io
import sys
from typing import Any

__all__ = ["NAMES", "open_stream"]

NAMES = ("stdin", "stdout", "stderr")


def open_stream(fd: int, *, line_buffering: bool, is_unbuffered: bool = False) -> None:
    """Let `sys` have a new stream of that file descriptor, 0, 1 or 2, with the encoding of the one before.

    New objects, because whatever stands in their place in the process that forked (a test's, say)
    leads elsewhere.
    """
    name = NAMES[fd]
    before = getattr(sys, f"__{name}__")
    raw: Any = io.FileIO(fd, "w" if fd else "r", closefd=False)
    raw.name = f"<{name}>"
    if not is_unbuffered:
        raw = io.BufferedWriter(raw) if fd else io.BufferedReader(raw)
    stream = io.TextIOWrapper(
        raw,
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors=getattr(before, "errors", None) or "strict",
        line_buffering=line_buffering,
        write_through=is_unbuffered,
    )
    stream.mode = "w" if fd else "r"  # type: ignore[misc] # as the interpreter sets it
    vars(sys).update({name: stream, f"__{name}__": stream})
