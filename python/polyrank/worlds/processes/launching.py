"""Runs a script in processes that are forked off this one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from polyrank import exit_codes
from polyrank.any_world.rank_endings import text_of_unfinished
from polyrank.any_world.rank_names import rank_names
from polyrank.process_ranks.endings import Ending, causes_first, text_of_status
from polyrank.process_ranks.environment import ReservedPort, torchrun_variables
from polyrank.process_ranks.launcher import Launch, run_processes
from polyrank.process_ranks.output import (
    ForwardedOutput,
    OutputInFiles,
    RankAtTerminal,
    RankOutput,
    drop_unread,
)
from polyrank.process_ranks.supervisor import Outcome as ProcessesOutcome
from polyrank.process_ranks.warm import needs_warmth, warm
from polyrank.rank_threads import Script
from polyrank.worlds.device import device_as_asked
from polyrank.worlds.merged_records import merged_report, merged_trace
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.processes.rank import run_on_rank
from polyrank.worlds.run_options import RunOptions

__all__ = ["run_in_processes"]

_EXIT_UNREAD = 128 + signal.SIGPIPE
_EXIT_TIMED_OUT = 124  # as of timeout(1)


def run_in_processes(options: RunOptions) -> Outcome:
    """Run it to the end of all ranks; the exit code is of the first to fail."""
    started = time.perf_counter()
    num_threads = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1
    script = Script(options.script, is_module=options.is_module)
    try:
        _warm(options, script)
    except ImportError as missing:
        seconds = time.perf_counter() - started
        report = merged_report([], options.world_size, seconds)
        return Outcome(exit_codes.USAGE, report, failure=f"--preload: {missing}\n")
    records: list[Any] = []
    told = ""
    with device_as_asked(options):  # ranks have the launcher's virtual GPUs, whole
        for one in options.of_schedules():
            outcome = _run_once(one, script, num_threads)
            records += [end.record for end in outcome.endings if end.record is not None]
            failed = causes_first(outcome.endings)
            exit_code, error = _exit_code(outcome, failed)
            told += "" if outcome.is_unread else _text_of(outcome, failed, one)
            if exit_code:
                break
    return Outcome(
        exit_code,
        merged_report(records, options.world_size, time.perf_counter() - started),
        failure=told,
        error=error,
        trace=merged_trace(records) if options.is_traced else None,
    )


def _run_once(options: RunOptions, script: Script, num_threads: int) -> ProcessesOutcome:
    port = ReservedPort()
    with tempfile.TemporaryDirectory(prefix="polyrank-") as folder, contextlib.closing(port):
        return run_processes(
            Launch(
                world_size=options.world_size,
                body=partial(run_on_rank, options, script),
                output=_output(options),
                debug_rank=options.debug_rank,
                variables=lambda rank: torchrun_variables(
                    rank, options.world_size, options.local_world_size, port.number, Path(folder)
                ),
                # A run that is to repeat draws the same, whatever the order of ranks.
                random_seed=lambda rank: None if options.schedule is None else rank,
                num_threads=num_threads,
                files=(port.fileno(),),
                timeout_seconds=options.timeout_seconds,
                order=options.schedule,
                seed=options.seed,
                signals=(signal.SIGINT, signal.SIGTERM),
            )
        )


def _output(options: RunOptions) -> RankOutput:
    output: RankOutput = (
        ForwardedOutput(prefix=True)
        if options.log_folder is None
        else OutputInFiles(options.log_folder)
    )
    return output if options.debug_rank is None else RankAtTerminal(options.debug_rank, output)


def _warm(options: RunOptions, script: Script) -> None:
    if not options.preloaded and script.code is not None and not needs_warmth(script.code):
        return
    before = sys.path[:]
    if options.preloaded:  # what is beside the script, too
        options.put_folder_in_front()
    try:
        warm(options.preloaded)
    finally:
        sys.path[:] = before


def _exit_code(
    outcome: ProcessesOutcome, failed: list[Ending]
) -> tuple[int, dict[str, Any] | None]:
    """The exit code, and what was raised on the first rank to fail."""
    if outcome.is_unread:
        drop_unread()
        return _EXIT_UNREAD, None
    if outcome.signal is not None:
        return 128 + outcome.signal, None
    if not failed:
        return (_EXIT_TIMED_OUT if outcome.is_timed_out else 0), None
    failure = failed[0].failure
    if failure is None:
        return failed[0].exit_code, None
    if failure.is_exit:
        return failure.exit_code, None
    return failure.exit_code, {"type": failure.kind, "message": failure.message}


def _text_of(outcome: ProcessesOutcome, failed: list[Ending], options: RunOptions) -> str:
    """What is told of a run, the cause of a failure last."""
    missing = [ending.rank for ending in outcome.endings if ending.record is None]
    text = f"without the records of {rank_names(missing)}\n" if missing else ""
    if outcome.unfinished:
        text += f"warning: {text_of_unfinished(outcome.unfinished)}\n"
    if failed or outcome.is_timed_out:
        text += options.replay()
    return text + _told(failed)


def _told(failed: list[Ending]) -> str:
    """A line for what others raised, and last what the first one did, which is the cause."""
    if not failed:
        return ""
    first, *others = failed
    ranks_by_line: dict[str, list[int]] = {}
    for ending in others:
        ranks_by_line.setdefault(_line_of(ending), []).append(ending.rank)
    lines = [line.format(rank_names(ranks)) for line, ranks in ranks_by_line.items()]
    if first.failure is None:
        lines.append(_line_of(first).format(rank_names([first.rank])))
    elif first.failure.is_exit:
        lines += [_line_of(first).format(rank_names([first.rank])), first.failure.report]
    else:
        lines += [first.failure.report, f"raised on {rank_names([first.rank])}\n"]
    return "".join(lines)


def _line_of(ending: Ending) -> str:
    """What a rank did, with a place for its name."""
    failure = ending.failure
    if failure is None:
        assert ending.status is not None  # noqa: S101
        return f"{{}} died by {text_of_status(ending.status)}\n"
    if failure.is_exit:
        return f"{{}} exited with code {failure.exit_code}\n"
    first_line = failure.message.partition("\n")[0].replace("{", "{{").replace("}", "}}")
    return f"raised on {{}}: {failure.kind}: {first_line}\n"
