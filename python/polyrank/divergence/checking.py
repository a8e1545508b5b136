"""Runs a script and watches its ranks: cheaply first, and again with operators where ranks parted."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from polyrank.divergence.agreement import watched_ranks
from polyrank.divergence.finding import Finding
from polyrank.divergence.meeting import Meeting
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["Checked", "check_agreement", "output_dropped"]


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    outcome: Outcome  # of the first run
    meeting: Meeting  # of the run that told most
    findings: list[Finding]
    num_suspicions: int  # what the first run saw differ


def check_agreement(options: RunOptions, ignored: tuple[str, ...] = ()) -> Checked:
    """Run the script; where ranks parted, or nothing could be watched, run it once more with operators.

    The second run does the same as the first, because a world's runs do; what it prints is dropped.
    """
    meeting = Meeting(options.world_size, ignored)
    outcome = _run(options, meeting, operators=False)
    # Without modules and optimizers parameters are found by the operators that take them.
    is_blind = not meeting.watched and not outcome.exit_code
    if not meeting.suspicions and not is_blind:
        return Checked(outcome, meeting, [], 0)
    again = Meeting(options.world_size, ignored)
    with output_dropped():
        _run(options, again, operators=True)
    return Checked(outcome, again, again.findings, len(meeting.suspicions))


def _run(options: RunOptions, meeting: Meeting, *, operators: bool) -> Outcome:
    around = partial(watched_ranks, meeting, operators=operators)
    return find_world(options.world).run(replace(options, around=around))


@contextlib.contextmanager
def output_dropped() -> Iterator[None]:
    """A block whose standard output and error go nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)
