"""Where servers listen: sockets in a folder that is the user's alone."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from polyrank.fork_server.messages import receive

__all__ = [
    "NotPrivateError",
    "check_peer",
    "connect",
    "folder_of_sockets",
    "listen",
    "socket_of",
    "sockets",
]

_SUFFIX = ".socket"
_CREDENTIALS = struct.Struct("3i")  # process, user, group


class NotPrivateError(Exception):
    """The folder is there, and others may write to it."""


def folder_of_sockets() -> Path:
    """The folder, which need not be there: in XDG_RUNTIME_DIR, else where temporary files are."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _is_private(Path(runtime)):
        return Path(runtime, "polyrank")
    return Path(os.environ.get("TMPDIR") or "/tmp", f"polyrank-{os.geteuid()}")  # noqa: S108 - checked


def sockets(folder: Path) -> list[Path]:
    """Those of all servers, the newest first; of servers that have died, too.

    Raises:
        NotPrivateError: others could have put them there.
    """
    if not folder.is_dir():
        return []
    _check(folder)
    found = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def connect(path: Path, timeout_seconds: float) -> socket.socket | None:
    """A connection to the server that listens there; None if it has died, and its socket is gone now.

    It has greeted: files that are sent to one that does not come to read them stay open.

    Raises:
        OSError, EOFError, ValueError: it does not answer, or is another user's.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_seconds)
    try:
        with _short(path) as name:
            connection.connect(name)
        check_peer(connection)
        receive(connection)
    except (ConnectionRefusedError, FileNotFoundError):  # nobody listens
        connection.close()
        path.unlink(missing_ok=True)
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def check_peer(connection: socket.socket) -> None:
    """See that the process at the other end is of this user.

    Raises:
        PermissionError: it is not.
    """
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(told)
    if user != os.geteuid():
        raise PermissionError(f"it is of user {user}")


def socket_of(pid: int, folder: Path) -> Path:
    """The path of a server's socket."""
    return folder / f"{pid}{_SUFFIX}"


def listen(path: Path) -> socket.socket:
    """Listen at the path, in a folder that is made if it is not there.

    Raises:
        NotPrivateError: others may write to the folder.
        OSError: it can't be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(path.parent)
    path.unlink(missing_ok=True)  # of a process that had the same number
    listener = socket.socket(socket.AF_UNIX)
    with _short(path) as name:
        listener.bind(name)
    listener.listen()
    return listener


def _check(folder: Path) -> None:
    if not _is_private(folder):
        raise NotPrivateError(f"{str(folder)!r} is no folder that only this user may enter")


def _is_private(folder: Path) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    is_own = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return stat.S_ISDIR(found.st_mode) and is_own


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path, in the few letters that the address of a socket may have."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
