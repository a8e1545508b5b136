"""What ranks print, on its way through the launcher: whole lines, the rank before each."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Protocol, TextIO

__all__ = [
    "ForwardedOutput",
    "OutputInFiles",
    "RankAtTerminal",
    "RankOutput",
    "drop_unread",
    "flush_output",
]

_STREAMS = ("stdout", "stderr")


class RankOutput(Protocol):
    """Where the standard output and error of ranks go."""

    def open_for(self, rank: int) -> tuple[int, int]:
        """File descriptors for a rank to write to, which the caller closes."""

    def sources(self, rank: int) -> tuple[int, ...]:
        """File descriptors that the launcher reads from, after open_for()."""

    def feed(self, fd: int, data: bytes) -> None:
        """Take what came from one of the sources."""

    def flush(self) -> None:
        """Let what was fed be seen."""

    def finish(self) -> None:
        """Write what has no end of line, rank 0's first."""


class ForwardedOutput:
    """Goes to the launcher's own streams, in whole lines; with `prefix`, after the rank's number."""

    def __init__(self, *, prefix: bool) -> None:
        self._prefix = prefix
        self._sources: dict[int, tuple[int, int]] = {}  # fd -> rank, stream
        self._unfinished: dict[tuple[int, int], bytes] = {}

    def open_for(self, rank: int) -> tuple[int, int]:
        """As RankOutput's."""
        ends = [os.pipe(), os.pipe()]
        for stream, (source, _) in enumerate(ends):
            self._sources[source] = (rank, stream)
            os.set_blocking(source, False)
        return ends[0][1], ends[1][1]

    def sources(self, rank: int) -> tuple[int, ...]:
        """As RankOutput's."""
        return tuple(fd for fd, (owner, _) in self._sources.items() if owner == rank)

    def feed(self, fd: int, data: bytes) -> None:
        """As RankOutput's."""
        key = self._sources[fd]
        end = data.rfind(b"\n") + 1
        if not end:
            self._unfinished[key] = self._unfinished.get(key, b"") + data
            return
        lines = self._unfinished.pop(key, b"") + data[:end]
        if end < len(data):
            self._unfinished[key] = data[end:]
        self._write(key, lines)

    def flush(self) -> None:
        """As RankOutput's."""
        for name in _STREAMS:
            getattr(sys, name).flush()

    def finish(self) -> None:
        """As RankOutput's."""
        for key, rest in sorted(self._unfinished.items()):
            self._write(key, rest + b"\n" if self._prefix else rest)
        self._unfinished.clear()
        self.flush()

    def _write(self, key: tuple[int, int], lines: bytes) -> None:
        rank, stream = key
        if self._prefix:
            start = b"[rank%d]: " % rank
            has_end = lines.endswith(b"\n")
            body = lines[:-1] if has_end else lines
            lines = start + body.replace(b"\n", b"\n" + start) + (b"\n" if has_end else b"")
        target: TextIO = getattr(sys, _STREAMS[stream])
        raw: Any = getattr(target, "buffer", None)
        if raw is None:  # a notebook's
            target.write(lines.decode(errors="replace"))
        else:
            raw.write(lines)


class OutputInFiles:
    """Goes to `folder/R/stdout.log` and `folder/R/stderr.log` for rank R, as torchrun has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open_for(self, rank: int) -> tuple[int, int]:
        """As RankOutput's."""
        folder = self._folder / str(rank)
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        out, err = (os.open(folder / f"{name}.log", flags, 0o666) for name in _STREAMS)
        return out, err

    def sources(self, _rank: int) -> tuple[int, ...]:
        """None: ranks write the files themselves."""
        return ()

    def feed(self, _fd: int, _data: bytes) -> None:
        """Never called: there are no sources."""

    def flush(self) -> None:
        """Nothing is kept."""

    def finish(self) -> None:
        """Nothing is kept."""


class RankAtTerminal:
    """One rank writes where the launcher does, as it comes; the others as `others` has it."""

    def __init__(self, rank: int, others: RankOutput) -> None:
        self._rank = rank
        self._others = others
        self.sources = others.sources
        self.feed = others.feed
        self.flush = others.flush
        self.finish = others.finish

    def open_for(self, rank: int) -> tuple[int, int]:
        """As RankOutput's."""
        return (os.dup(1), os.dup(2)) if rank == self._rank else self._others.open_for(rank)


def drop_unread() -> None:
    """Give up what the process still holds for a reader who is gone.

    Python writes it at its end otherwise, which fails and makes the exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def flush_output() -> None:
    """Leave nothing in the buffers of the process, which a fork would copy."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # there is none, or closed
            stream.flush()  # type: ignore[union-attr]
