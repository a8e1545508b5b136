"""A process that the server has forked takes over a command: it becomes what that would be, and runs it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Any

from polyrank import _C
from polyrank.fork_server.messages import Message
from polyrank.process_ranks.become_rank import end_python
from polyrank.process_ranks.standard_streams import NAMES, open_stream

__all__ = ["CantBecomeError", "become", "run_command"]

_STDERR = 2
_LOWEST_FILE = 512  # of what is not the command's
# fcntl.F_SETSIG, which Python 3.11 does not name: what signal comes in place of SIGIO.
_F_SETSIG = 10


class CantBecomeError(Exception):
    """This process can't be given what the command has."""


def become(wanted: Message, files: list[int], own: Sequence[int]) -> list[int]:
    """Have what the command has, and end with it.

    Args:
        wanted: What `client.py` tells of the command.
        files: Its current directory, the pipe of its life, and the files that it has open.
        own: Files of this process that are to stay.

    Returns: descriptors that are not for ranks: those of `own`, moved, and that of the pipe.

    Raises:
        CantBecomeError: a limit can't be set. All else is as it was.
    """
    _set_limits(wanted)
    os.setsid()
    directory, life, *opened = files
    os.fchdir(directory)
    os.close(directory)
    numbers = wanted["files"]
    lowest = max([_lowest_file(), *(number + 1 for number in numbers)])
    kept = [_moved(file, lowest) for file in (*own, life)]
    _end_with_writer(kept[-1])
    moved = [_moved(file, lowest) for file in opened]
    for fd in range(3):
        if fd not in numbers:
            with contextlib.suppress(OSError):
                os.close(fd)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    os.umask(wanted["umask"])
    os.environ.clear()
    os.environ.update(wanted["variables"])
    _C.mutate_as_environment_says()  # as the import of a command that runs alone does
    sys.argv = wanted["arguments"]
    sys.orig_argv = wanted["command"]
    sys.path[:] = wanted["path"]
    importlib.invalidate_caches()
    _forget_what_is_of_one_process()
    _open_streams(is_unbuffered=wanted["is_unbuffered"])
    _set_signals(wanted)
    return kept


def run_command() -> int:
    """Run `polyrank` with this process's arguments; the exit code."""
    from polyrank.cli.app import main

    try:
        main()
        code: Any = 0
    except SystemExit as request:
        code = request.code
    except Exception:  # noqa: BLE001 - as the interpreter ends
        sys.excepthook(*sys.exc_info())
        code = 1
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    end_python()
    return (code or 0) & 0xFF


def _lowest_file() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _LOWEST_FILE if soft == resource.RLIM_INFINITY else min(_LOWEST_FILE, soft // 2)


def _moved(file: int, lowest: int) -> int:
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(file)
    return moved


def _end_with_writer(pipe: int) -> None:
    """Be killed when nobody holds the pipe's other end any more."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        os.read(pipe, 1)
        os._exit(1)  # it ended before the call


def _set_limits(wanted: Message) -> None:
    os.sched_setaffinity(0, wanted["cores"])
    for name, both in wanted["limits"].items():
        kind = getattr(resource, name)
        if resource.getrlimit(kind) != tuple(both):
            try:
                resource.setrlimit(kind, tuple(both))
            except (OSError, ValueError) as why:
                raise CantBecomeError(f"the limit {name} can't be that of the command") from why


def _forget_what_is_of_one_process() -> None:
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        key = multiprocessing.AuthenticationString(os.urandom(32))
        multiprocessing.current_process().authkey = key


def _open_streams(*, is_unbuffered: bool) -> None:
    """As the interpreter does at its start."""
    for fd in range(3):
        try:
            open_stream(
                fd,
                line_buffering=fd == _STDERR or os.isatty(fd),
                is_unbuffered=is_unbuffered and fd > 0,
            )
        except OSError:  # it was closed for the command
            vars(sys).update({NAMES[fd]: None, f"__{NAMES[fd]}__": None})


def _set_signals(wanted: Message) -> None:
    ignored = set(wanted["ignored"])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) is not None:  # None: the C library's own
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, wanted["blocked"])
