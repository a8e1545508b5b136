"""Starts a process for each rank, forked off this one, and stays until all have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from polyrank.process_ranks.become_rank import Surroundings, become_rank
from polyrank.process_ranks.channel import Channel
from polyrank.process_ranks.endings import Failure
from polyrank.process_ranks.forking import (
    RankProcess,
    fork_process,
    frozen_objects,
    in_thread_without_history,
    room_for_files,
)
from polyrank.process_ranks.interruptions import held_back, noted_signals, release
from polyrank.process_ranks.output import RankOutput, flush_output
from polyrank.process_ranks.shared_run import SharedRun
from polyrank.process_ranks.supervisor import Outcome, Supervisor
from polyrank.process_ranks.this_process import be_rank

__all__ = ["Launch", "Rank", "run_processes"]

_FILES_PER_RANK = 4  # two streams, a channel, a pidfd


@dataclass(frozen=True)
class Rank:
    """What the process of a rank has of its run."""

    rank: int
    world_size: int
    run: SharedRun
    channel: Channel

    def fail(self, failure: Failure) -> None:
        """Tell the launcher and all ranks, before anything else happens."""
        self.run.end_failed(self.rank, f"{failure.kind}: {failure.message}")
        self.channel.send("failed", failure)


def _no_variables(_rank: int) -> Mapping[str, str]:
    return {}


def _no_seed(_rank: int) -> int | None:
    return None


@dataclass(frozen=True)
class Launch:
    """What is to run, and how."""

    world_size: int
    body: Callable[[Rank], int]  # called in each process; gives its exit code
    run: SharedRun
    output: RankOutput
    variables: Callable[[int], Mapping[str, str]] = _no_variables  # of the environment, by rank
    random_seed: Callable[[int], int | None] = _no_seed  # by rank; None: from the system
    num_threads: int = 1  # of torch, in each
    timeout_seconds: float | None = None  # then all are ended
    files: Sequence[int] = ()  # file descriptors that are not for ranks
    # Whether this process may have computed on several cores before.
    has_history: bool = False
    signals: Sequence[signal.Signals] = field(default=(signal.SIGINT,))  # that end the run


def run_processes(launch: Launch) -> Outcome:
    """Run it to the end of all ranks; what became of them.

    Each rank is a process forked off this one, so that what this one has, they have, at the cost of
    what they write to. None outlives the thread that calls.
    """
    processes: list[RankProcess] = []
    limits = room_for_files(launch.world_size * _FILES_PER_RANK)
    flush_output()
    with contextlib.ExitStack() as stack:
        # Before the forks: an exception out of a signal would be lost in what runs at a fork.
        signals = stack.enter_context(noted_signals(launch.signals))
        stack.callback(_close, processes)

        def fork_all() -> None:
            for rank in range(launch.world_size):
                processes.append(_fork(launch, rank, processes, (*signals, *launch.files), limits))

        with frozen_objects(), held_back(launch.signals):
            if launch.has_history:
                stack.enter_context(in_thread_without_history(fork_all))
            else:
                fork_all()
        return Supervisor(launch, processes, signals[0] if signals else None).wait()


def _close(processes: Sequence[RankProcess]) -> None:
    for process in processes:
        process.close()


def _fork(
    launch: Launch,
    rank: int,
    others: Sequence[RankProcess],
    files: Sequence[int],
    limits: tuple[int, int],
) -> RankProcess:
    source, sink = os.pipe()
    os.set_blocking(source, False)
    stdout, stderr = launch.output.open_for(rank)
    sources = launch.output.sources(rank)
    of_launcher = (source, *sources, *files, *(fd for other in others for fd in other.files))
    surroundings = Surroundings(
        launcher=os.getpid(),
        channel=sink,
        stdout=stdout,
        stderr=stderr,
        has_stdin=rank == 0,
        variables=launch.variables(rank),
        num_threads=launch.num_threads,
        open_files=limits,
        random_seed=launch.random_seed(rank),
        closed=of_launcher,
    )
    pid = fork_process(lambda: _run_rank(launch, rank, surroundings))
    for fd in (sink, stdout, stderr):
        os.close(fd)
    return RankProcess(rank, pid, os.pidfd_open(pid), source, sources)


def _run_rank(launch: Launch, rank: int, has: Surroundings) -> int:
    told, frames = become_rank(has)
    channel = Channel(told)
    be_rank(rank, launch.world_size)
    launch.run.begin(rank)
    channel.send("began", (frames, threading.get_ident()))
    try:
        release(launch.signals)
        return launch.body(Rank(rank, launch.world_size, launch.run, channel))
    except KeyboardInterrupt:  # before the program has started
        return 128 + signal.SIGINT
