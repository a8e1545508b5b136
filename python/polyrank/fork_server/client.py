"""The command `polyrank run`, where a server takes it: NOTE [Fork server].

What is imported here costs each run its time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from polyrank.fork_server.messages import MOST_FILES, Message, receive, send
from polyrank.fork_server.place import NotPrivateError, connect, folder_of_sockets, sockets
from polyrank.fork_server.search_path import search_path
from polyrank.fork_server.situation import limits, situation

__all__ = ["NO_SERVER", "request", "run_in_server"]

NO_SERVER = "--no-serve"
_VARIABLE = "POLYRANK_SERVE"
# How long a server may take to fork. It is not asked again; a busy machine is no reason to wait long.
_ANSWER_SECONDS = 5.0
_END_MILLISECONDS = 3000
_EXIT_LOST = 1
_FIRST_FILES = 2  # the current directory, the pipe of the command's life
_STOPPED = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def run_in_server() -> None:
    """Exit as the run does, if a server takes this command; else return, with nothing done."""
    if NO_SERVER in sys.argv or os.environ.get(_VARIABLE) == "0" or sys.platform != "linux":
        return
    try:
        found = sockets(folder_of_sockets())
    except (NotPrivateError, OSError) as why:
        _tell(f"no server is used: {why}")
        return
    for path in found:
        code = _run_in(path)
        if code is not None:
            sys.exit(code)


def request() -> Message:
    """What a server has to know of this process to say whether it can take its place."""
    return {
        "situation": situation(),
        "variables": dict(os.environ),
        "limits": limits(),
        "search_path": search_path(),
    }


def _run_in(path: Path) -> int | None:
    """The exit code; None: this server does not take it."""
    number = path.stem
    try:
        connection = connect(path, _ANSWER_SECONDS)
        if connection is None:
            return None
        with connection, _held_back() as before:
            with _life() as (life, life_of_command):
                answer, files = _asked(connection, before, life)
            # As long as this end is open, the launcher lives.
            try:
                if "refused" in answer:
                    raise _NotTakenError(answer["refused"])
                send(connection, {"wants": "go"})
                _tell(f"the server of process {number} is used")
                with _passed_on(files[0], before):
                    code = _exit_code(connection)
                    _await_end(files[0])
                    return code
            finally:
                os.close(life_of_command)
                for file in files:
                    os.close(file)
    except (_NotTakenError, OSError, EOFError, ValueError) as why:
        _tell(f"the server of process {number} is not used: {why or 'it does not answer'}")
        return None


class _NotTakenError(Exception):
    """The server does not take this command, and has done nothing."""


def _asked(
    connection: socket.socket, blocked: set[signal.Signals], life: int
) -> tuple[Message, list[int]]:
    """What the server answers; if it takes the command, with a pidfd of the launcher."""
    numbers = _inherited_files()
    if len(numbers) + _FIRST_FILES > MOST_FILES:
        raise _NotTakenError(f"{len(numbers)} files are open")
    umask = os.umask(0o077)
    os.umask(umask)
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wanted = request() | {
            "wants": "run",
            "arguments": sys.argv,
            "command": sys.orig_argv,
            "path": sys.path,
            "umask": umask,
            "cores": sorted(os.sched_getaffinity(0)),
            "ignored": [n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN],
            "blocked": list(blocked),
            "files": numbers,
            "is_unbuffered": bool(getattr(sys.stdout, "write_through", False)),
        }
        send(connection, wanted, (directory, life, *numbers))
    finally:
        os.close(directory)
    return receive(connection, 1)


def _inherited_files() -> list[int]:
    """Those that a program which this process starts has open, too."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing itself
            if os.get_inheritable(int(path.name)):
                found.append(int(path.name))
    return sorted(found)


@contextlib.contextmanager
def _life() -> Iterator[tuple[int, int]]:
    """A pipe whose reading end is for the launcher; the caller closes the writing one."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)


@contextlib.contextmanager
def _held_back() -> Iterator[set[signal.Signals]]:
    """Let signals wait until they can be passed on; what was blocked before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _passed_on(launcher: int, blocked: set[signal.Signals]) -> Iterator[None]:
    """Let the launcher have the signals that come, and stop where it is to stop."""

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and its exit code comes
            if number not in _STOPPED:
                signal.pidfd_send_signal(launcher, number)
                return
            signal.pidfd_send_signal(launcher, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
            signal.pidfd_send_signal(launcher, signal.SIGCONT)

    untouched = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE}
    passed = {
        number
        for number in signal.valid_signals() - untouched
        if signal.getsignal(number) != signal.SIG_IGN
    }
    handlers = {number: signal.signal(number, pass_on) for number in passed}
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _exit_code(connection: socket.socket) -> int:
    """Wait for the end of the run."""
    connection.settimeout(None)
    try:
        answer, _ = receive(connection)
    except (EOFError, OSError):
        sys.stderr.write("polyrank: the process that ran this, and its server, have died\n")
        return _EXIT_LOST
    if "refused" in answer:  # once it has read the arguments
        raise _NotTakenError(answer["refused"])
    return int(answer["exit"])


def _await_end(launcher: int) -> None:
    """Wait until nothing of the run is left; it has said that it ends."""
    ends = select.poll()
    ends.register(launcher, select.POLLIN)
    ends.poll(_END_MILLISECONDS)


def _tell(text: str) -> None:
    if "--verbose" in sys.argv:
        sys.stderr.write(f"polyrank serve: {text}\n")
        sys.stderr.flush()
