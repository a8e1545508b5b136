"""What runs in the process of a rank."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from typing import NoReturn

import torch

from polyrank.errors import CollectiveMismatchError, DeadlockError
from polyrank.process_ranks.become_rank import end_python
from polyrank.process_ranks.endings import Failure
from polyrank.process_ranks.interruptions import held_back
from polyrank.process_ranks.launcher import Rank
from polyrank.rank_threads import Script
from polyrank.recording.trace import Trace, trace
from polyrank.worlds.ending import Ending, ending_of, ending_of_error
from polyrank.worlds.outcome import RunMeter
from polyrank.worlds.run_options import RunOptions

__all__ = ["run_on_rank"]

_EXIT_INTERRUPTED = 128 + signal.SIGINT


def run_on_rank(options: RunOptions, script: Script, rank: Rank) -> int:
    """Run the script, send the launcher the record of what it did, and give the exit code."""
    record = _Record(rank)
    with contextlib.ExitStack() as stack:
        if options.is_traced:
            record.trace = stack.enter_context(trace())
        stack.callback(record.end)
        sys.argv = [options.script, *options.arguments]
        options.put_folder_in_front()
        if options.schedule is not None:
            torch.default_generator.manual_seed(rank.rank)
        record.is_sent_at_exit()
        failure = _failure_of(script, rank.rank)
        exit_code = 0 if failure is None else failure.exit_code
        has_raised = failure is not None and not failure.is_exit
        if not has_raised:  # what it calls at its end finds the other ranks there
            end_python()
        if failure is not None and exit_code:
            with held_back((signal.SIGINT,)):  # it would come for a program that is over
                if options.log_folder is not None:
                    sys.stderr.write(failure.report)  # as a process does
                rank.fail(failure)
        if has_raised:
            end_python()
        if not exit_code:
            rank.run.end(rank.rank)
    record.send()
    return exit_code


class _Record:
    """What a rank has done, as merged_records reads it."""

    def __init__(self, rank: Rank) -> None:
        self.trace: Trace | None = None
        self._rank = rank
        self._meter = RunMeter(rank.world_size, rank.rank)
        self._started = time.time()
        self._ended: float | None = None

    def end(self) -> None:
        """The program is over."""
        self._ended = time.time()

    def send(self) -> None:
        """Send it to the launcher."""
        self._rank.channel.send(
            "record",
            {
                "rank": self._rank.rank,
                "started": self._started,
                "ended": self._ended or time.time(),
                "report": dataclasses.asdict(self._meter.read()),
                "trace": self.trace and json.loads(self.trace.to_json()),
                "events": self.trace and json.loads(self.trace.to_chrome_trace())["traceEvents"],
            },
        )

    def is_sent_at_exit(self) -> None:
        """Let os._exit(0) be an end like any other, which programs take to end at once."""
        pid, end_now = os.getpid(), os._exit

        def exit_(status: int) -> NoReturn:
            if os.getpid() == pid and status == 0:
                self._rank.run.end(self._rank.rank)
                self.send()
            end_now(status)

        os._exit = exit_


def _failure_of(script: Script, rank: int) -> Failure | None:
    """Run it; what it raised, or how it exited."""
    try:
        ending = ending_of(script.run)
    except KeyboardInterrupt as interrupt:
        told = ending_of_error(interrupt).told
        ending = Ending(_EXIT_INTERRUPTED, told, interrupt)
    if ending.raised is None and not ending.exit_code:
        return None
    is_exit = ending.raised is None
    return Failure(
        rank,
        time.monotonic(),
        "SystemExit" if is_exit else type(ending.raised).__name__,
        str(ending.exit_code if is_exit else ending.raised),
        ending.told,
        ending.exit_code & 0xFF,
        is_exit=is_exit,
        is_found_by_all=isinstance(ending.raised, CollectiveMismatchError | DeadlockError),
    )
