"""What a rank tells the launcher, over a pipe of its own."""

from __future__ import annotations

import os
import pickle
import struct
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["Channel", "Inbox"]

_LENGTH = struct.Struct("<Q")


class Channel:
    """The rank's end. Any thread may send."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, kind: str, content: Any) -> None:
        """Send a message, which must be picklable; a launcher that is gone is no error."""
        body = pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL)
        message = memoryview(_LENGTH.pack(len(body)) + body)
        try:
            with self._lock:
                while message:
                    message = message[os.write(self._fd, message) :]
        except OSError:  # gone, or closed by a program that closes all files
            pass


class Inbox:
    """The launcher's end: messages out of the bytes as they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Give the messages that are complete with these bytes."""
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            message = pickle.loads(memoryview(self._bytes)[_LENGTH.size : end])  # noqa: S301 - our own rank's
            del self._bytes[:end]
            yield message
