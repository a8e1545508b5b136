"""Forks ranks off a process that has all that they have in common."""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import resource
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyrank.process_ranks.remote_forks import OtherLauncher

__all__ = [
    "RankProcess",
    "fork_process",
    "frozen_objects",
    "in_thread_without_history",
    "room_for_files",
]

_end_now = os._exit  # also where a program that runs here has replaced it


@dataclass
class RankProcess:
    """A rank's process, as the launcher holds it."""

    rank: int
    pid: int
    pidfd: int  # readable once it has ended
    channel: int  # what it tells is read there
    streams: tuple[int, ...]  # what it prints is read there
    other: OtherLauncher | None = None  # which has forked it, instead of this process
    status: int | None = None  # once it has ended, as os.waitpid() gives it

    @property
    def files(self) -> tuple[int, ...]:
        """The file descriptors that this process has of it."""
        return (self.pidfd, self.channel, *self.streams)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.status is None:
            signal.pidfd_send_signal(self.pidfd, number)

    def send_group_signal(self, number: int) -> None:
        """Send it and the processes that it started a signal, if it runs."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):  # not a group yet
                os.killpg(self.pid, number)
            signal.pidfd_send_signal(self.pidfd, number)

    def take_status(self) -> int:
        """Wait for its end."""
        if self.status is None:
            if self.other is None:
                _, self.status = os.waitpid(self.pid, 0)
            else:
                self.status = self.other.take_status(self.pid)
        return self.status

    def close(self) -> None:
        """End it, if it runs, and let go of it."""
        self.send_group_signal(signal.SIGKILL)
        self.take_status()
        for fd in self.files:
            os.close(fd)


def fork_process(child: Callable[[], int]) -> int:
    """Fork; the child calls `child` and ends with the exit code that it gives. Its process id."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of threads, which the child does not use.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = child()
    except BaseException:  # noqa: BLE001 - nothing may run on in the copy of the launcher
        import traceback

        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        _end_now(code)


@contextlib.contextmanager
def in_thread_without_history(run: Callable[[], None]) -> Iterator[None]:
    """Call `run` in a new thread, which is that of every process that it forks; keep the thread.

    OpenMP keeps a thread's helpers with the thread. A fork of one that has computed on several
    cores believes that they are there, and waits for them forever; a new thread has none. Children
    that end with the process that forked them end with this thread.
    """
    is_done, is_over = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised where the caller is
            raised.append(error)
        is_done.set()
        is_over.wait()

    # Not a threading.Thread: a child's is its main thread then.
    _thread.start_new_thread(call, ())
    try:
        is_done.wait()
        if raised:
            raise raised[0]
        yield
    finally:
        is_over.set()


def room_for_files(number: int) -> tuple[int, int]:
    """Let the process have as many files open; the limits from before, for children."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    wanted = number + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return before


@contextlib.contextmanager
def frozen_objects() -> Iterator[None]:
    """Keep the garbage collector of children off what they share with this process.

    A collection writes into each object that it looks at, and so copies its page.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
