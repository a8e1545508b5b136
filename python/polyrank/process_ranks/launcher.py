"""Starts a process for each rank, forked off this one, and stays until all have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from polyrank import _C
from polyrank.process_ranks.become_rank import STANDSTILL_SIGNAL, Surroundings, become_rank
from polyrank.process_ranks.channel import Channel
from polyrank.process_ranks.endings import Failure
from polyrank.process_ranks.forking import (
    RankProcess,
    fork_process,
    frozen_objects,
    in_thread_without_history,
    room_for_files,
)
from polyrank.process_ranks.groups import RankGroups, holders_of_replaced
from polyrank.process_ranks.interruptions import held_back, noted_signals, release
from polyrank.process_ranks.output import RankOutput, flush_output
from polyrank.process_ranks.remote_forks import OtherLauncher, fork_as_told
from polyrank.process_ranks.served_run import private_files
from polyrank.process_ranks.spawning import be_what_is_spawned
from polyrank.process_ranks.supervisor import Outcome, Supervisor
from polyrank.process_ranks.this_process import be_rank
from polyrank.replacing.layers import PROCESSES

__all__ = ["Launch", "Rank", "run_processes"]

_FILES_PER_RANK = 4  # two streams, a channel, a pidfd


@dataclass(frozen=True)
class Rank:
    """What the process of a rank has of its run."""

    rank: int
    world_size: int
    run: _C.SharedRun
    channel: Channel
    groups: RankGroups

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
    output: RankOutput
    variables: Callable[[int], Mapping[str, str]] = _no_variables  # of the environment, by rank
    random_seed: Callable[[int], int | None] = _no_seed  # by rank; None: from the system
    num_threads: int = 1  # of torch, in each
    timeout_seconds: float | None = None  # then all are ended
    # One rank goes at a time, the next one "in_turn" or drawn at "random"; None: all at once.
    order: str | None = None
    seed: int = 0  # of the random order
    debug_rank: int | None = None  # has standard input; nobody is ended or told for waiting for it
    files: Sequence[int] = ()  # file descriptors that are not for ranks
    # Whether this process may have computed on several cores before.
    has_history: bool = False
    signals: Sequence[signal.Signals] = field(default=(signal.SIGINT,))  # that end the run


def run_processes(launch: Launch) -> Outcome:
    """Run it to the end of all ranks; what became of them.

    Each rank is a process forked off this one, so that what this one has, they have, at the cost of
    what they write to. None outlives the thread that calls.
    """
    with contextlib.ExitStack() as stack:
        # Before the forks: an exception out of a signal would be lost in what runs at a fork.
        signals = stack.enter_context(noted_signals(launch.signals))
        forks = _Forks(launch, signals)
        stack.callback(forks.close)
        flush_output()
        with frozen_objects(), held_back(launch.signals):
            if forks.first_launcher is not None:
                private = (*signals, *launch.files)
                fork_as_told(forks.first_launcher, private, partial(_run_rank, forks))
            if launch.has_history:
                stack.enter_context(in_thread_without_history(forks.fork_all))
            else:
                forks.fork_all()
        source = signals[0] if signals else None
        return Supervisor(launch, forks.run, forks.processes, source).wait()


class _Forks:
    """The processes of a run's ranks, and what they share."""

    def __init__(self, launch: Launch, signals: Sequence[int]) -> None:
        salted = _C.take_salted_launcher()
        self.run = _run_of(launch) if salted is None else salted.run
        sockets = [] if salted is None else salted.sockets
        # The socket to it, if this process forks ranks for another one.
        self.first_launcher = sockets[0] if salted is not None and salted.number else None
        # Rank r is forked by number r of them, and so on; None: by this process.
        self._launchers: list[OtherLauncher | None] = [None]
        if self.first_launcher is None:
            self._launchers += map(OtherLauncher, sockets)
        self.processes: list[RankProcess] = []
        self._launch = launch
        self._private_files = (*signals, *launch.files, *sockets, *private_files())
        self._holders = holders_of_replaced()
        PROCESSES.prepare()
        self._limits = room_for_files(launch.world_size * _FILES_PER_RANK)

    def fork_all(self) -> None:
        """Start all ranks."""
        for rank in range(self._launch.world_size):
            self._fork(rank)
        for launcher in self._launchers:
            if launcher is not None:
                launcher.has_all()

    def close(self) -> None:
        """End those that run."""
        for process in self.processes:
            process.close()

    def _fork(self, rank: int) -> None:
        launch = self._launch
        source, sink = os.pipe()
        os.set_blocking(source, False)
        stdout, stderr = launch.output.open_for(rank)
        sources = launch.output.sources(rank)
        of_others = (fd for process in self.processes for fd in process.files)
        surroundings = Surroundings(
            launcher=os.getpid(),
            channel=sink,
            stdout=stdout,
            stderr=stderr,
            has_stdin=rank == (launch.debug_rank or 0),
            variables=launch.variables(rank),
            num_threads=launch.num_threads,
            open_files=self._limits,
            random_seed=launch.random_seed(rank),
            closed=(source, *sources, *self._private_files, *of_others),
            is_started_anew=not launch.has_history,
        )
        # Who has this process's standard input is forked by it.
        number = 0 if surroundings.has_stdin else rank % len(self._launchers)
        other = self._launchers[number]
        if other is None:
            pid = fork_process(lambda: _run_rank(self, rank, surroundings))
        else:
            pid = other.fork(rank, surroundings)
        for fd in (sink, stdout, stderr):
            os.close(fd)
        self.processes.append(RankProcess(rank, pid, os.pidfd_open(pid), source, sources, other))

    def begin(self, rank: int) -> RankGroups:
        """Be that rank to the others, in its process."""
        self.run.begin(rank)
        self.run.raise_failure_on(STANDSTILL_SIGNAL)
        groups = RankGroups(self.run, rank, self._launch.world_size)
        groups.replace(self._holders)
        be_what_is_spawned(rank)
        be_rank(rank, self._launch.world_size)
        return groups

    def call_body(self, rank: int, channel: Channel, groups: RankGroups) -> int:
        """Run what is to run; its exit code."""
        launch = self._launch
        try:
            release(launch.signals)
            if launch.output.sources(rank):
                self.run.set_read_by_launcher((1, 2))
            self.run.take_turn()
            return launch.body(Rank(rank, launch.world_size, self.run, channel, groups))
        except KeyboardInterrupt:  # before the program has started
            return 128 + signal.SIGINT


def _run_of(launch: Launch) -> _C.SharedRun:
    is_random = None if launch.order is None else launch.order == "random"
    return _C.SharedRun(launch.world_size, random=is_random, seed=launch.seed)


def _run_rank(forks: _Forks, rank: int, has: Surroundings) -> int:
    told, frames = become_rank(has)
    channel = Channel(told)
    groups = forks.begin(rank)
    channel.send("began", (frames, threading.get_ident()))
    return forks.call_body(rank, channel, groups)
