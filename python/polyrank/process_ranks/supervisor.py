"""Stays with the processes of ranks until all have ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from polyrank import _C
from polyrank.any_world.progress import RanksNow, tells_of_ranks
from polyrank.any_world.rank_names import rank_names
from polyrank.process_ranks.channel import Inbox
from polyrank.process_ranks.endings import Ending, text_of_status
from polyrank.process_ranks.forking import RankProcess
from polyrank.process_ranks.standstill import Standing, Standstill, where_ranks_stand
from polyrank.process_ranks.thread_standstill import ThreadStandstill

if TYPE_CHECKING:
    from polyrank.process_ranks.launcher import Launch

__all__ = ["Outcome", "Supervisor"]

_READ_BYTES = 1 << 20
_LOOK_SECONDS = 0.05
_LOOK_AT_TURNS_SECONDS = 0.01
# Who asks again and again without a sleep is never asleep.
_LONGEST_TURN_SECONDS = 10.0
# How long ranks may go on after one has failed: torchrun ends them at once.
_AFTER_FAILURE_SECONDS = 10.0
# How long they may take to end, once they are told to, before each further step.
_STEP_SECONDS = 3.0
_STEPS = (signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    endings: list[Ending]  # by rank
    signal: int | None = None  # that ended the run
    is_timed_out: bool = False
    is_unread: bool = False  # whoever reads the output is gone
    unfinished: str = ""  # launches that ranks left behind, a line for each


class Supervisor:
    """The launcher while ranks run: passes on what they print, sees who ends, ends who must."""

    def __init__(
        self,
        launch: Launch,
        run: _C.SharedRun,
        processes: Sequence[RankProcess],
        signals: int | None,
    ) -> None:
        self._launch = launch
        self._run = run
        self._signals = signals  # file descriptor where their numbers come
        self._processes = processes
        self._endings = [Ending(process.rank) for process in processes]
        self._running = {process.rank: process for process in processes}
        self._inboxes = [Inbox() for _ in processes]
        self._standings: dict[int, Standing] = {}
        self._standstill = Standstill(run)
        pids = [process.pid for process in processes]
        self._threads = ThreadStandstill(run, pids)
        self._turns = (
            None if launch.order is None else _C.TurnWatch(run, pids, _LONGEST_TURN_SECONDS)
        )
        self._selector = selectors.DefaultSelector()
        self._read: list[Callable[[int, bytes], None]] = []
        self._started = time.monotonic()
        self._end_at: float | None = None  # when to take the next step to end the ranks
        self._end_why = ""
        self._first_failed: int | None = None
        self._num_steps = 0
        self._signal: int | None = None
        self._is_timed_out = self._is_unread = False

    def wait(self) -> Outcome:
        """Until all ranks have ended."""
        with self._selector, tells_of_ranks(self._ranks_now):
            if self._signals is not None:
                self._selector.register(self._signals, selectors.EVENT_READ, self._on_signal)
            for process in self._processes:
                self._watch(process)
            look_seconds = _LOOK_SECONDS if self._turns is None else _LOOK_AT_TURNS_SECONDS
            while self._running:
                for key, _ in self._selector.select(look_seconds):
                    key.data(key.fd)
                self._flush()
                self._look_around(time.monotonic())
            for process in self._processes:  # what came before the end, and its own children's
                for stream in process.streams:
                    self._take_output(stream, to_the_end=True)
            self._pass_on(self._launch.output.finish)
        return Outcome(
            self._endings,
            self._signal,
            self._is_timed_out,
            self._is_unread,
            self._run.leftovers() if all(end.has_ended_well for end in self._endings) else "",
        )

    def _ranks_now(self) -> RanksNow:
        return RanksNow(len(self._running), self._run.activity())

    def _watch(self, process: RankProcess) -> None:
        rank, register = process.rank, self._selector.register
        register(process.pidfd, selectors.EVENT_READ, lambda _: self._on_end(rank))
        register(process.channel, selectors.EVENT_READ, lambda _: self._take_messages(rank))
        for stream in process.streams:
            register(stream, selectors.EVENT_READ, self._take_output)

    # --- what ranks print ---

    def _take_output(self, fd: int, *, to_the_end: bool = False) -> None:
        while data := _read(fd):
            self._pass_on(partial(self._launch.output.feed, fd, data))
            if not to_the_end:
                return
        if data is not None:  # the end
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)

    def _flush(self) -> None:
        self._pass_on(self._launch.output.flush)

    def _pass_on(self, write: Callable[[], None]) -> None:
        if self._is_unread:
            return
        try:
            write()
        except BrokenPipeError:
            self._is_unread = True
            self._end_ranks("")

    # --- what they tell ---

    def _take_messages(self, rank: int) -> None:
        process, ending = self._processes[rank], self._endings[rank]
        while data := _read(process.channel):
            for kind, content in self._inboxes[rank].feed(data):
                if kind == "began":
                    self._standings[rank] = Standing(rank, process.pid, *content)
                elif kind == "record":
                    ending.record = content
                elif self._num_steps == 0:
                    ending.failure = content
                    self._on_failure(rank)
                else:  # it was told to end
                    ending.was_ended = True
        if data is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(process.channel)

    def _on_end(self, rank: int) -> None:
        process, ending = self._running.pop(rank), self._endings[rank]
        self._selector.unregister(process.pidfd)
        self._take_messages(rank)
        with contextlib.suppress(KeyError):
            self._selector.unregister(process.channel)
        ending.at, ending.status = time.monotonic(), process.take_status()
        ending.was_ended |= self._num_steps > 0 and ending.record is None
        if ending.is_death:
            self._run.died(rank, text_of_status(ending.status))
            if ending.has_failed:
                self._on_failure(rank)
        if rank == self._launch.debug_rank and self._first_failed is not None:
            self._on_failure(self._first_failed)  # nobody looks at the others any more

    # --- ending them ---

    def _on_failure(self, rank: int) -> None:
        if self._first_failed is None:
            self._first_failed = rank
        if self._end_at is None and self._launch.debug_rank not in self._running:
            self._end_at = time.monotonic() + _AFTER_FAILURE_SECONDS
            self._end_why = (
                f"within {_AFTER_FAILURE_SECONDS:.0f} s after rank {rank} failed, and are ended"
            )

    def _on_signal(self, fd: int) -> None:
        for number in os.read(fd, 1024):
            if number not in self._launch.signals:
                continue
            if self._signal is not None:  # again: at once
                self._num_steps = len(_STEPS)
                for process in self._running.values():
                    process.send_group_signal(signal.SIGKILL)
            else:
                self._signal = number
                sys.stderr.write("interrupted: ranks end at their next collective or sleep\n")
                self._end_ranks("")

    def _end_ranks(self, why: str) -> None:
        """Tell them to end, as Ctrl-C does, so that they still write what they have to tell."""
        if self._num_steps:
            return
        if why:
            sys.stderr.write(f"{rank_names(list(self._running))} {why}\n")
            sys.stderr.write(where_ranks_stand(self._running_standings()))
        # The signal first, so that who waits in a collective wakes up interrupted.
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        self._run.stop("the run was interrupted")
        self._num_steps = 1
        self._end_at = time.monotonic() + _STEP_SECONDS

    def _look_around(self, now: float) -> None:
        for rank in self._threads.look(now)[:1]:  # it may sleep where no signal wakes it
            self._on_failure(rank)
        if self._turns is not None:
            sys.stderr.write(self._turns.look() or "")
        timeout = self._launch.timeout_seconds
        if timeout is not None and now - self._started > timeout and not self._is_timed_out:
            self._is_timed_out = True
            self._end_ranks(f"did not end within {timeout:g} s (--timeout), and are ended")
        if self._end_at is not None and now > self._end_at:
            if self._num_steps == 0:
                self._end_ranks(f"did not end {self._end_why}")
            else:
                for process in self._running.values():
                    process.send_group_signal(_STEPS[min(self._num_steps, len(_STEPS)) - 1])
                self._num_steps += 1
                self._end_at = now + _STEP_SECONDS
        if self._num_steps == 0 and self._launch.debug_rank is None:
            text = self._standstill.check(self._running_standings())
            if text is not None:
                sys.stderr.write(text)

    def _running_standings(self) -> list[Standing]:
        return [self._standings[rank] for rank in self._running if rank in self._standings]


def _read(fd: int) -> bytes | None:
    """What is there to read; nothing at the end, None if more may come later."""
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return None
