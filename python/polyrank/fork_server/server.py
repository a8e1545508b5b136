"""The server: waits for commands, and forks a process for each. NOTE [Fork server]."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from polyrank.fork_server.messages import send
from polyrank.fork_server.place import listen, socket_of
from polyrank.fork_server.server_child import CLOSE, ServerChild
from polyrank.fork_server.warm_process import WarmProcess
from polyrank.process_ranks.forking import fork_process
from polyrank.process_ranks.interruptions import noted_signals

__all__ = ["Server"]

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST_NOTE_BYTES = 4096  # which a pipe takes as a whole


@dataclass
class _Child:
    """A process that has a command, or asks for one."""

    pid: int
    connection: socket.socket


class Server:
    """One process, which is warm and has one thread.

    Args:
        process: What it has behind it.
        folder: Where its socket is to be.
        idle_seconds: How long it stays without a run.

    Raises:
        NotPrivateError, OSError: it can't listen there.
    """

    def __init__(self, process: WarmProcess, folder: Path, idle_seconds: float) -> None:
        self._process = process
        self._idle_seconds = idle_seconds
        self._path = socket_of(os.getpid(), folder)
        self._notes, self._note_sink = os.pipe()  # what children tell
        os.set_blocking(self._notes, False)
        self._children: dict[int, _Child] = {}  # by pidfd
        self._started = time.time()
        self._last_run = time.monotonic()
        self._num_runs = 0
        self._is_open = True
        self._selector = selectors.DefaultSelector()
        self._listener = listen(self._path)

    def serve(self) -> None:
        """Until nobody needs it any more."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            self._signals = stack.enter_context(noted_signals(_ENDING_SIGNALS))
            register = self._selector.register
            register(self._signals[0], selectors.EVENT_READ, lambda _: self._close())
            register(self._notes, selectors.EVENT_READ, self._take_notes)
            register(self._listener, selectors.EVENT_READ, lambda _: self._accept())
            while self._is_open or self._children:
                for key, _ in self._selector.select(self._seconds_left()):
                    key.data(key.fd)
                if self._seconds_left() == 0:
                    self._close()

    def _seconds_left(self) -> float | None:
        """Until it ends for having nothing to do; None: it has something to do."""
        if self._children or not self._is_open:
            return None
        return max(0.0, self._last_run + self._idle_seconds - time.monotonic())

    def _close(self) -> None:
        """Take no more commands."""
        if self._is_open:
            self._is_open = False
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._listener)
            self._listener.close()
        with contextlib.suppress(KeyError, IndexError):
            self._selector.unregister(self._signals[0])

    def _take_notes(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for note in os.read(fd, _MOST_NOTE_BYTES).decode().split():
                if note == CLOSE:
                    self._close()
                else:
                    self._num_runs += 1
                    self._last_run = time.monotonic()

    # --- children ---

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it is gone
            return
        pid = fork_process(lambda: self._be_child(connection))
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = _Child(pid, connection)
        self._selector.register(pidfd, selectors.EVENT_READ, self._on_end)

    def _on_end(self, pidfd: int) -> None:
        self._selector.unregister(pidfd)
        child = self._children.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError), child.connection:
            child.connection.setblocking(False)
            # If it could not tell: what comes first counts.
            send(child.connection, {"exit": code if code >= 0 else 128 - code})
        self._last_run = time.monotonic()

    def _be_child(self, connection: socket.socket) -> int:
        """What runs in a forked process; its exit code."""
        self._selector.close()
        self._listener.close()
        for child in self._children.values():
            child.connection.close()
        for fd in (*self._children, *self._signals, self._notes):
            os.close(fd)
        status = {
            "process": os.getppid(),
            "since": self._started,
            "runs": self._num_runs,
            "running": len(self._children),
            "idle_seconds": self._idle_seconds,
        }
        return ServerChild(self._process, self._note_sink, status).answer(connection)
