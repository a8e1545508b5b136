"""What a command and a server say to each other: JSON, with files beside it."""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any

__all__ = ["MOST_FILES", "Message", "receive", "send"]

Message = dict[str, Any]

MOST_FILES = 253  # that the kernel passes on at once
_LENGTH = struct.Struct("<I")
_MOST_BYTES = 1 << 26
_FILE_BYTES = array.array("i").itemsize


def send(connection: socket.socket, message: Message, files: tuple[int, ...] = ()) -> None:
    """Send it, and the files behind these descriptors.

    Raises:
        OSError: nobody reads it.
    """
    body = json.dumps(message).encode()
    head = _LENGTH.pack(len(body))
    if files:
        socket.send_fds(connection, [head], files)
    else:
        connection.sendall(head)
    connection.sendall(body)


def receive(connection: socket.socket, most_files: int = 0) -> tuple[Message, list[int]]:
    """The next message, and descriptors of the files that came with it.

    Raises:
        EOFError: the other end is gone.
        OSError: nothing comes in time, or not all files.
        ValueError: this is no message.
    """
    head, ancillary, flags, _ = connection.recvmsg(
        _LENGTH.size, socket.CMSG_SPACE(most_files * _FILE_BYTES), socket.MSG_CMSG_CLOEXEC
    )
    files = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % _FILE_BYTES])
    if flags & socket.MSG_CTRUNC:
        raise OSError("more files than this process may have open")
    head += _exactly(connection, _LENGTH.size - len(head)) if head else b""
    if not head:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _MOST_BYTES:
        raise ValueError(f"a message of {length:,} bytes")
    message = json.loads(_exactly(connection, length))
    if not isinstance(message, dict):
        raise ValueError(f"a message that is a {type(message).__name__}")  # noqa: TRY004 - of its form
    return message, list(files)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
