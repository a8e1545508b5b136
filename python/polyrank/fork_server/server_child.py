"""What a server has forked to answer one command."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NoReturn

from polyrank.fork_server.messages import MOST_FILES, Message, receive, send
from polyrank.fork_server.place import check_peer
from polyrank.fork_server.takeover import CantBecomeError, become, run_command
from polyrank.fork_server.warm_process import WarmProcess
from polyrank.process_ranks.served_run import HandedBackError, ServedRun, be_served

__all__ = ["CLOSE", "RUN", "ServerChild"]

# What it tells the server: to take no more commands; that a run has begun.
CLOSE, RUN = "close", "run"
# How long a command may take to say what it wants, and "go".
_REQUEST_SECONDS = 5.0


class ServerChild:
    """This process.

    Args:
        process: What the server has behind it.
        note_sink: A pipe to the server.
        status: What it says of itself.
    """

    def __init__(self, process: WarmProcess, note_sink: int, status: Message) -> None:
        self._process = process
        self._note_sink = note_sink
        self._status = status

    def answer(self, connection: socket.socket) -> int:
        """Do what the command wants; the exit code of this process."""
        connection.settimeout(_REQUEST_SECONDS)
        try:
            check_peer(connection)
            send(connection, {})  # a greeting
            wanted, files = receive(connection, MOST_FILES)
            if wanted["wants"] == "run":
                return self._run(connection, wanted, files)
            send(connection, self._told(wanted))
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
        ):  # it is gone, or says what no polyrank says
            return 1
        return 0

    def _told(self, wanted: Message) -> Message:
        if wanted["wants"] == "stop":
            self._note(CLOSE)
            return self._status
        preloaded = list(self._process.preloaded)
        return self._status | {"preloaded": preloaded, "why_not": self._why_not(wanted)}

    def _why_not(self, wanted: Message) -> str | None:
        changed = self._process.changed_file()
        if changed is not None:
            self._note(CLOSE)
            return f"{changed} has changed since it started"
        return self._process.why_not(wanted)

    def _note(self, text: str) -> None:
        os.write(self._note_sink, f"{text}\n".encode())

    def _run(self, connection: socket.socket, wanted: Message, files: list[int]) -> int:
        reason = self._why_not(wanted)
        if reason is None:
            try:
                connection, private = self._become(connection, wanted, files)
            except CantBecomeError as why:
                reason = str(why)
        if reason is not None:
            send(connection, {"refused": reason})
            return 0
        pidfd = os.pidfd_open(os.getpid())
        send(connection, {}, (pidfd,))
        os.close(pidfd)
        receive(connection)  # go
        self._note(RUN)
        be_served(ServedRun(self._process.preloaded, self._process.printed, private))
        return _run_command(connection)

    def _become(
        self, connection: socket.socket, wanted: Message, files: list[int]
    ) -> tuple[socket.socket, tuple[int, ...]]:
        """The connection, moved, and the descriptors that are not for ranks."""
        kept = become(wanted, files, (connection.fileno(), self._note_sink))
        connection.detach()
        moved = socket.socket(fileno=kept[0])
        moved.settimeout(_REQUEST_SECONDS)
        self._note_sink = kept[1]
        return moved, tuple(kept)


def _run_command(connection: socket.socket) -> int:
    pid, end_now = os.getpid(), os._exit

    def exit_(status: int) -> NoReturn:
        if os.getpid() == pid:  # else a rank's
            with contextlib.suppress(OSError):
                send(connection, {"exit": status & 0xFF})
        end_now(status)

    os._exit = exit_  # which the command calls where threads could not be ended
    try:
        code = run_command()
    except HandedBackError as why:
        send(connection, {"refused": str(why)})
        return 0
    send(connection, {"exit": code})
    return code
