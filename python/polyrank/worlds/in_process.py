"""Runs a script in this process: what the worlds have in common whose ranks all live in it."""

from __future__ import annotations

import contextlib
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from polyrank.recording.trace import Trace, trace
from polyrank.worlds.ending import ending_of
from polyrank.worlds.interrupts import terminated_as_interrupted
from polyrank.worlds.outcome import Outcome, RunMeter
from polyrank.worlds.program_end import program_ended
from polyrank.worlds.run_options import RunOptions

__all__ = ["as_main", "run_here", "run_main"]


def run_here(
    options: RunOptions,
    world: AbstractContextManager[object],
    program: Callable[[RunOptions], None],
    *,
    counts_all_ranks: bool = False,
) -> Outcome:
    """Run `program` within `world`, metered, and traced if the options ask for it."""
    meter = RunMeter(options.world_size, options.rank, counts_all_ranks=counts_all_ranks)
    recorded: Trace | None = None

    def run() -> None:
        nonlocal recorded
        with terminated_as_interrupted(), world, contextlib.ExitStack() as stack:
            if options.is_traced:
                recorded = stack.enter_context(trace())
            program(options)

    ending = ending_of(run)
    return Outcome(
        ending.exit_code,
        meter.read(),
        failure=ending.told,
        error=ending.error,
        trace=None if recorded is None else _trace_file_text(recorded),
    )


@contextlib.contextmanager
def as_main(options: RunOptions) -> Iterator[None]:
    """A block in which `sys.argv` and `sys.path` are as the script expects them."""
    old_argv, old_path = sys.argv[:], sys.path[:]
    sys.argv = [options.script, *options.arguments]
    options.put_folder_in_front()
    try:
        yield
    finally:
        sys.argv, sys.path[:] = old_argv, old_path


def run_main(options: RunOptions) -> None:
    """Run the script or module as `__main__`, on the calling thread."""
    with as_main(options), program_ended(), options.around():
        if options.is_module:
            runpy.run_module(options.script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(options.script, run_name="__main__")


def _trace_file_text(recorded: Trace) -> str:
    """Chrome's trace events, and beside them, where viewers don't look, the JSON form."""
    events = recorded.to_chrome_trace()
    return f'{{"polyrank": {recorded.to_json()}, {events[1:]}\n'
