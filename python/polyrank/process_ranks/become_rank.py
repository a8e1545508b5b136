"""What a forked process does to be as one that was started anew."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from polyrank.process_ranks.exit_functions import leave_launchers_exit_functions
from polyrank.process_ranks.standard_streams import open_stream

__all__ = [
    "BODY_CALLER",
    "FRAMES_SIGNAL",
    "STANDSTILL_SIGNAL",
    "Surroundings",
    "become_rank",
    "end_python",
    "seed_generators",
]

# Asks a rank where it stands; below the highest, which debuggers like to take.
FRAMES_SIGNAL = signal.SIGRTMAX - 2
# Has it raise what the run has failed with, where it sleeps for good elsewhere than in a collective.
STANDSTILL_SIGNAL = signal.SIGRTMAX - 3
# The function whose frame calls what a rank runs.
BODY_CALLER = "_run_rank"
_PR_SET_PDEATHSIG = 1
_LOWEST_FILE = 512


@dataclass(frozen=True)
class Surroundings:
    """What the process of one rank is to have."""

    launcher: int  # its process id
    channel: int  # file descriptor to tell it something
    stdout: int  # file descriptors, which become 1 and 2
    stderr: int
    has_stdin: bool
    variables: Mapping[str, str]  # of the environment, beside the launcher's
    num_threads: int  # of torch
    open_files: tuple[int, int]  # RLIMIT_NOFILE
    random_seed: int | None  # of `random` and numpy; None: as a fresh process, from the system
    closed: tuple[int, ...]  # what belongs to the launcher
    is_started_anew: bool  # whether the launcher has imports alone behind it


def become_rank(has: Surroundings) -> tuple[int, int]:
    """Be a process of its own; give two file descriptors: its channel, where faulthandler writes.

    Streams of random numbers, signals, standard streams, the environment, the session are as in a
    process that was started anew. It ends with the launcher.
    """
    os.setsid()  # as torchrun: Ctrl-C reaches the launcher, which tells ranks
    _end_with(has.launcher)
    for fd in has.closed:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, has.open_files)
    leave_launchers_exit_functions(is_started_anew=has.is_started_anew)
    _reset_signals()
    _open_streams(has)
    os.environ.update(has.variables)
    torch.set_num_threads(has.num_threads)
    seed_generators(has.random_seed)
    channel = _moved_up(has.channel)
    frames = _moved_up(os.memfd_create("where the rank stands"))
    faulthandler.register(FRAMES_SIGNAL, file=frames, all_threads=True)
    return channel, frames


def end_python() -> None:
    """Do what Python does at a program's end: wait for its threads, call atexit, flush.

    Ctrl-C ends the wait for threads. Afterwards it has nothing left to end: it is ignored.
    """
    with contextlib.suppress(KeyboardInterrupt):
        threading._shutdown()  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # None, closed, or its reader is gone
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def _moved_up(fd: int) -> int:
    """The same under a high number, so that the program's files have those that they would have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _LOWEST_FILE if soft == resource.RLIM_INFINITY else min(_LOWEST_FILE, soft // 2)
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return moved


def _end_with(launcher: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:  # it ended before the call
        os._exit(1)


def _reset_signals() -> None:
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    signal.set_wakeup_fd(-1)
    faulthandler.disable()


def _open_streams(has: Surroundings) -> None:
    if not has.has_stdin:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
    for fd, target in ((has.stdout, 1), (has.stderr, 2)):
        os.dup2(fd, target)
        os.close(fd)
    for fd in range(3):
        # Each line at once, as torchrun has it by `python -u`: what a rank that is killed printed
        # is seen.
        open_stream(fd, line_buffering=fd > 0)


def seed_generators(seed: int | None) -> None:
    """The random streams of `random`, NumPy and PyTorch; None: as a fresh process has them, from the system."""
    if seed is None:
        torch.default_generator.seed()
    else:
        random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(None if seed is None else seed % 2**32)
