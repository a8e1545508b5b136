"""Runs a program in processes that are forked off this one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from polyrank.errors import CollectiveMismatchError, DeadlockError
from polyrank.process_ranks.become_rank import end_python
from polyrank.process_ranks.endings import Ending, Failure, causes_first, text_of_status
from polyrank.process_ranks.environment import ReservedPort, torchrun_variables
from polyrank.process_ranks.launcher import Launch, Rank, run_processes
from polyrank.process_ranks.output import ForwardedOutput, OutputInFiles, drop_unread
from polyrank.process_ranks.shared_run import Unshared
from polyrank.process_ranks.supervisor import Outcome as RanksOutcome
from polyrank.process_ranks.warm import warm
from polyrank.rank_names import rank_names
from polyrank.rank_threads import Script
from polyrank.trace import trace
from polyrank.worlds.device import cuda_as_asked
from polyrank.worlds.ending import ending_of_error, ending_of_exit
from polyrank.worlds.merged_records import Record, merged_report, merged_trace
from polyrank.worlds.outcome import Outcome, RunMeter
from polyrank.worlds.run_options import RunOptions

__all__ = ["run_in_processes"]

_EXIT_UNREAD = 128 + signal.SIGPIPE
_EXIT_TIMED_OUT = 124  # as of timeout(1)


def run_in_processes(options: RunOptions) -> Outcome:
    """Run the program; the exit code is that of the first rank to fail."""
    started = time.perf_counter()
    num_threads = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1
    script = Script(options.script, is_module=options.is_module)
    warm()
    port = ReservedPort()
    with tempfile.TemporaryDirectory(prefix="polyrank-") as folder, contextlib.closing(port):
        outcome = run_processes(
            Launch(
                world_size=options.world_size,
                body=partial(_run_on_rank, options, script),
                run=Unshared(),
                output=ForwardedOutput(prefix=True)
                if options.log_folder is None
                else OutputInFiles(options.log_folder),
                variables=lambda rank: torchrun_variables(
                    rank, options.world_size, options.local_world_size, port.number, Path(folder)
                ),
                num_threads=num_threads,
                files=(port.fileno(),),
                timeout_seconds=options.timeout_seconds,
                signals=(signal.SIGINT, signal.SIGTERM),
            )
        )
    records: list[Record] = [
        ending.record for ending in outcome.endings if ending.record is not None
    ]
    missing = [ending.rank for ending in outcome.endings if ending.record is None]
    without = f"without the records of ranks that were ended: {missing}\n" if missing else ""
    exit_code, error, told = _outcome(outcome)
    return Outcome(
        exit_code,
        merged_report(records, options.world_size, time.perf_counter() - started),
        failure=without + told,
        error=error,
        trace=None if options.trace_file is None else merged_trace(records),
    )


def _outcome(outcome: RanksOutcome) -> tuple[int, dict[str, Any] | None, str]:
    """The exit code and the error of the rank that failed first, and what is told of it."""
    if outcome.is_unread:
        drop_unread()
        return _EXIT_UNREAD, None, ""
    failed = causes_first(outcome.endings)
    told = _text_of_failed(failed)
    if outcome.signal is not None:
        return 128 + outcome.signal, None, told
    if not failed:
        return (_EXIT_TIMED_OUT if outcome.is_timed_out else 0), None, told
    failure = failed[0].failure
    if failure is None:
        return failed[0].exit_code, None, told
    is_exit = failure.kind == SystemExit.__name__
    error = None if is_exit else {"type": failure.kind, "message": failure.message}
    return failure.exit_code, error, told


def _text_of_failed(failed: list[Ending]) -> str:
    """A line for what others raised, and last what the first one did, which is the cause."""
    if not failed:
        return ""
    first, *others = failed
    by_line: dict[str, list[int]] = {}
    for ending in others:
        by_line.setdefault(_line_of(ending), []).append(ending.rank)
    lines = [f"{rank_names(ranks)} {line}\n" for line, ranks in by_line.items()]
    report = "" if first.failure is None else first.failure.report
    if first.failure is None or first.failure.kind == SystemExit.__name__:
        end = f"{rank_names([first.rank])} {_line_of(first)}\n"
    else:
        end = f"raised on {rank_names([first.rank])}\n"
    return "".join(lines) + report + end


def _line_of(ending: Ending) -> str:
    """What a rank did, after its name."""
    failure = ending.failure
    if failure is None:
        assert ending.status is not None  # noqa: S101
        return f"died: {text_of_status(ending.status)}"
    if failure.kind == SystemExit.__name__:
        return f"exited with code {failure.exit_code}"
    return f"raised {failure.kind}: {failure.message.partition(chr(10))[0]}"


def _run_on_rank(options: RunOptions, script: Script, rank: Rank) -> int:
    """What runs in a rank's process; its exit code."""
    meter = RunMeter(options.world_size, rank.rank)
    started = time.time()
    recorded = None
    failure: Failure | None = None
    with contextlib.ExitStack() as stack:
        if options.trace_file is not None:
            recorded = stack.enter_context(trace())
        stack.enter_context(cuda_as_asked(options))
        sys.argv = [options.script, *options.arguments]
        _put_in_front("" if options.is_module else str(Path(options.script).resolve().parent))
        try:
            script.run()
        except BaseException as error:  # noqa: BLE001 - whatever it was, the record is worth having
            failure = _failure(rank.rank, error)
        if failure is not None and failure.exit_code:
            rank.fail(failure)
        _end_quietly()
        if failure is None or not failure.exit_code:
            rank.run.end(rank.rank)
        ended = time.time()
    rank.channel.send(
        "record",
        {
            "rank": rank.rank,
            "started": started,
            "ended": ended,
            "report": dataclasses.asdict(meter.read()),
            "trace": None if recorded is None else json.loads(recorded.to_json()),
            "events": []
            if recorded is None
            else json.loads(recorded.to_chrome_trace())["traceEvents"],
        },
    )
    return 0 if failure is None else failure.exit_code


def _put_in_front(folder: str) -> None:
    """Into sys.path, in place of where the launcher's own command was, as `python` has it."""
    sys.path[: 0 if sys.flags.safe_path else 1] = [folder]


def _end_quietly() -> None:
    try:
        end_python()
    except KeyboardInterrupt:  # the launcher's, to one that waits for its threads
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _failure(rank: int, error: BaseException) -> Failure:
    if isinstance(error, SystemExit):
        kind, ending = SystemExit.__name__, ending_of_exit(error)
    else:
        kind, ending = type(error).__name__, ending_of_error(error)
    return Failure(
        rank,
        time.monotonic(),
        kind,
        str(error),
        ending.told,
        ending.exit_code & 0xFF,
        isinstance(error, CollectiveMismatchError | DeadlockError),
    )
