"""Ranks that another launcher forks: see NOTE [Launchers with salts of their own] in salted_launchers.h."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence

from polyrank.process_ranks.become_rank import Surroundings
from polyrank.process_ranks.forking import fork_process

__all__ = ["OtherLauncher", "fork_as_told"]

_MOST_BYTES = 1 << 20
_FILES = ("channel", "stdout", "stderr")
_THAT_IS_ALL = b"that is all"


class OtherLauncher:
    """What the first launcher has of another one."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._statuses: dict[int, int] = {}

    def fileno(self) -> int:
        """Of the socket to it."""
        return self._socket.fileno()

    def fork(self, rank: int, surroundings: Surroundings) -> int:
        """Have it fork the rank; the process id."""
        files = [getattr(surroundings, name) for name in _FILES]
        try:
            socket.send_fds(self._socket, [pickle.dumps((rank, surroundings))], files)
            answer = self._socket.recv(_MOST_BYTES)
        except OSError:
            answer = b""
        if not answer:
            raise RuntimeError(
                "a launcher with another salt of string hashes has ended; without --hash-seeds it would "
                "say why"
            )
        pid: int = pickle.loads(answer)  # noqa: S301 - our own launcher's
        return pid

    def has_all(self) -> None:
        """It forks no more."""
        self._socket.send(_THAT_IS_ALL)

    def take_status(self, pid: int) -> int:
        """Wait for the end of a process that it forked; as os.waitpid() gives it."""
        while pid not in self._statuses:
            message = self._socket.recv(_MOST_BYTES)
            if not message:  # it has died, and its ranks with it
                return signal.SIGKILL
            of, status = pickle.loads(message)  # noqa: S301 - our own launcher's
            self._statuses[of] = status
        return self._statuses[pid]


def fork_as_told(
    fd: int, private: Sequence[int], run_rank: Callable[[int, Surroundings], int]
) -> None:
    """Fork the ranks that the first launcher asks for, tell it how they end, and end.

    Args:
        fd: The socket to it.
        private: File descriptors that are not for ranks.
        run_rank: What runs in a rank's process; its exit code.
    """
    connection = socket.socket(fileno=fd)
    while True:
        request, files, _, _ = socket.recv_fds(connection, _MOST_BYTES, len(_FILES))
        if not request:
            os._exit(1)  # the first one has ended
        if request == _THAT_IS_ALL:
            break
        rank, told = pickle.loads(request)  # noqa: S301 - our own launcher's
        surroundings = dataclasses.replace(
            told,
            **dict(zip(_FILES, files, strict=True)),
            launcher=os.getpid(),
            closed=(fd, *private),
        )
        pid = fork_process(lambda: run_rank(rank, surroundings))  # noqa: B023 - called at once
        for file in files:
            os.close(file)
        connection.send(pickle.dumps(pid))
    while True:
        try:
            ended = os.wait()
        except ChildProcessError:
            os._exit(0)
        connection.send(pickle.dumps(ended))
