"""What ranks print: line by line with the rank before each line, or in files of each rank's own."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["output_in_files", "prefixed_output", "stream_of_descriptor"]


class _RankBytes(io.RawIOBase):
    """What stands for the bytes below a stream: those that are no text are shown as escapes."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._text = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        whole = bytes(data)
        self._text.write(whole.decode(errors="backslashreplace"))
        return len(whole)

    def flush(self) -> None:
        self._text.flush()


class _RankStream(io.TextIOBase):
    """Stands for a stream of the process; what ranks write goes where the subclass says."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @abstractmethod
    def write_of_rank(self, rank: int, text: str) -> None:
        """Write what a rank wrote."""

    def __getattr__(self, name: str) -> Any:
        """What else a program asks of its stream: `reconfigure`, `name`, `mode`, `line_buffering`."""
        return getattr(self._stream, name)

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        own = rank_globals()
        if own is None:
            return self._stream.write(text)
        self.write_of_rank(own.rank_thread.rank, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override] # TextIOBase has a variable
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    @property
    def buffer(self) -> _RankBytes:
        """Takes bytes, as a program writes them."""
        return _RankBytes(self)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


class _RankLines(_RankStream):
    """Keeps each rank's unfinished line until its end comes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # In pieces: `print` writes each of its arguments by itself.
        self._unfinished: defaultdict[int, list[str]] = defaultdict(list)

    def write_of_rank(self, rank: int, text: str) -> None:
        pieces = self._unfinished[rank]
        if "\n" not in text:
            pieces.append(text)
            return
        *lines, rest = "".join((*pieces, text)).split("\n")
        pieces[:] = (rest,) if rest else ()
        self._stream.write("".join([f"[rank{rank}]: {line}\n" for line in lines]))

    def finish(self) -> None:
        """Write what has no end of line yet, rank 0's first."""
        for rank, pieces in sorted(self._unfinished.items()):
            if rest := "".join(pieces):
                self._stream.write(f"[rank{rank}]: {rest}\n")
        self._unfinished.clear()


class _RankFiles(_RankStream):
    """Appends to `FOLDER/RANK/NAME`. No file stays open: there may be more than a process may have."""

    def __init__(self, stream: TextIO, folder: Path, name: str, world_size: int) -> None:
        super().__init__(stream)
        self._files = [folder / str(rank) / name for rank in range(world_size)]
        for file in self._files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")

    def write_of_rank(self, rank: int, text: str) -> None:
        with self._files[rank].open("a") as file:
            file.write(text)


# By the descriptor of the stream that it stands for, with the file that this was.
_of_descriptors: dict[int, tuple[_RankStream, tuple[int, int]]] = {}


def stream_of_descriptor(number: Any) -> _RankBytes | None:
    """Where the calling rank's bytes go that are written to that descriptor, as `os.write(1, …)` does.

    None: to the descriptor. It is no standard one, no rank calls, or the program has made another file of it.
    """
    found = _of_descriptors.get(number) if isinstance(number, int) else None
    if found is None or rank_globals() is None or _file_of(number) != found[1]:
        return None
    return found[0].buffer


def _file_of(number: int) -> tuple[int, int]:
    status = os.fstat(number)
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _in_place_of_output(out: _RankStream, err: _RankStream) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    for stream in (out, err):
        with contextlib.suppress(OSError, ValueError):  # a notebook's has none
            _of_descriptors[stream.fileno()] = stream, _file_of(stream.fileno())
    try:
        yield
    finally:
        _of_descriptors.clear()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def prefixed_output() -> Iterator[None]:
    """Put the rank before each line that a rank writes to standard output and error."""
    streams = _RankLines(sys.stdout), _RankLines(sys.stderr)
    try:
        with _in_place_of_output(*streams):
            yield
    finally:
        for stream in streams:
            stream.finish()


@contextlib.contextmanager
def output_in_files(folder: Path, world_size: int) -> Iterator[None]:
    """Put what rank r writes into `folder/r/stdout.log` and `folder/r/stderr.log`, as torchrun does."""
    out = _RankFiles(sys.stdout, folder, "stdout.log", world_size)
    err = _RankFiles(sys.stderr, folder, "stderr.log", world_size)
    with _in_place_of_output(out, err):
        yield
