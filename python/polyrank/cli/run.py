"""Runs one program in the world that was asked for, and reports."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyrank import exit_codes
from polyrank.cli.json_report import json_document
from polyrank.cli.progress import progress
from polyrank.cli.report import print_report
from polyrank.output.written_whole import write_json, write_text
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["run_program"]

_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def run_program(options: RunOptions) -> int:
    """Run the program, report what it did, the cause of a failure last, and return the exit code."""
    with progress(options):
        outcome = find_world(options.world).run(options)
    print_report(outcome.report)
    sys.stderr.write(outcome.failure)
    exit_code = outcome.exit_code
    if (json_file := options.json_file) is not None:
        exit_code = (
            _save(partial(write_json, json_file, json_document(options, outcome))) or exit_code
        )
    if (trace_file := options.trace_file) is not None and outcome.trace is not None:
        exit_code = _save(partial(write_text, trace_file, outcome.trace)) or exit_code
    if (html_file := options.html_file) is not None:
        exit_code = _save(partial(_write_page, html_file, options, outcome)) or exit_code
    if outcome.exit_code in _INTERRUPTED and threading.active_count() > 1:
        # Ranks that a signal could not end. As Python ends it ends them in the midst of C++, which aborts.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def _write_page(html_file: Path, options: RunOptions, outcome: Outcome) -> None:
    from polyrank.run_report.page import run_page
    from polyrank.run_report.recorded import Recorded, recorded_from_text

    run = json_document(options, outcome)
    recorded = (
        Recorded([], run) if outcome.trace is None else recorded_from_text(outcome.trace, run)
    )
    write_text(html_file, run_page(recorded))


def _save(write: Callable[[], None]) -> int:
    """Write a report; an exit code, 0 if it could be written."""
    try:
        write()
    except OSError as error:
        sys.stderr.write(f"the report can't be written: {error}\n")
        return exit_codes.NO_REPORT
    return 0
