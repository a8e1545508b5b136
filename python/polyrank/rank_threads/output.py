"""What ranks print, line by line, with the rank before each line."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TextIO

from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["prefixed_output"]


class _RankLines(io.TextIOBase):
    """A stream that keeps each rank's unfinished line until its end comes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._unfinished: dict[int, str] = {}

    def write(self, text: str, /) -> int:
        own = rank_globals()
        if own is None:
            return self._stream.write(text)
        rank = own.rank_thread.rank
        *lines, rest = (self._unfinished.pop(rank, "") + text).split("\n")
        self._stream.write("".join(f"[rank{rank}]: {line}\n" for line in lines))
        if rest:
            self._unfinished[rank] = rest
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def finish(self) -> None:
        """Write what has no end of line yet."""
        for rank, rest in sorted(self._unfinished.items()):
            self._stream.write(f"[rank{rank}]: {rest}\n")
        self._unfinished.clear()


@contextlib.contextmanager
def prefixed_output() -> Iterator[None]:
    """Put the rank before each line that a rank writes to standard output and error."""
    streams = _RankLines(sys.stdout), _RankLines(sys.stderr)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            stream.finish()
