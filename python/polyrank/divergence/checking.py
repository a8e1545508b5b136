"""Runs a script and watches its ranks: cheaply first, and again with operators where ranks parted."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from polyrank import exit_codes
from polyrank.divergence.agreement import launches_told, watched_ranks
from polyrank.divergence.finding import Finding
from polyrank.divergence.meeting import Meeting
from polyrank.divergence.report import Report, identity_of
from polyrank.divergence.streams import RANDOM_STREAM
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["Checked", "check_agreement", "output_dropped"]


SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Checked(Report):
    """What a check found."""

    options: RunOptions
    outcome: Outcome  # of the first run
    meeting: Meeting  # of the run that told most
    findings: list[Finding]
    num_suspicions: int  # what the first run saw differ
    failure_watched: str = (
        ""  # of the second run, with operators watched, where the first did not fail
    )

    title = "Ranks that part"

    @property
    def exit_code(self) -> int:
        if self.findings:
            return exit_codes.DIVERGENCE
        return self.outcome.exit_code or int(bool(self.failure_watched))

    def text(self) -> str:
        lines = []
        for finding in self.findings:
            lines += [finding.text(), ""]
        lines.append(self._verdict())
        lines += [f"no fault by itself: {_drift(drift)}" for drift in self.meeting.drifts]
        if self.failure_watched:
            lines.append(
                f"{self.num_suspicions:,} tensors differ, and it is not known why: with operators watched "
                f"the script failed:\n{self.failure_watched}"
            )
        elif self.num_suspicions > len(self.meeting.drifts) and not self.findings:
            lines.append(
                f"{self.num_suspicions:,} tensors differ for a reason that is no fault: each rank's own "
                "part, or a pipeline's stages"
            )
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.meeting.unwatched.items():
            by_reason.setdefault(reason, []).append(name)
        lines += [f"not watched: {', '.join(names)}: {why}" for why, names in by_reason.items()]
        return self.outcome.failure + "\n".join(lines) + "\n"

    def _verdict(self) -> str:
        kinds = list(self.meeting.watched.values())
        counts = [f"{kinds.count(kind):,} {kind}s" for kind in dict.fromkeys(kinds)]
        watched = " and ".join(counts) if counts else "no parameters"
        said = (
            "ranks part" if self.findings else "no rank parts from those that it should agree with"
        )
        if self.outcome.exit_code:
            said = f"the script ended with {self.outcome.exit_code}; up to then {said}"
        return f"{said}: watched {watched} over {self.meeting.num_steps:,} optimizer steps"

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            **identity_of(self.options),
            "exit_code": self.outcome.exit_code,
            "findings": [finding.to_dict() for finding in self.findings],
            "drifts": [drift.to_dict() for drift in self.meeting.drifts],
            "failure_watched": self.failure_watched,
            "watched": self.meeting.watched,
            "unwatched": self.meeting.unwatched,
            "num_steps": self.meeting.num_steps,
        }

    def pictures(self) -> list[Any]:
        return [finding.picture() for finding in self.findings]


def _drift(drift: Finding) -> str:
    return f"{drift.subject} parts at {drift.operation} of {drift.site}: {drift.cause}"


def check_agreement(options: RunOptions, ignored: tuple[str, ...] = ()) -> Checked:
    """Run the script; where ranks parted, or nothing could be watched, run it once more with operators.

    The second run does the same as the first, because a world's runs do; what it prints is dropped.
    """
    meeting = Meeting(options.world_size, ignored)
    outcome = _run(options, meeting, operators=False)
    # Without modules and optimizers parameters are found by the operators that take them.
    is_blind = not set(meeting.watched.values()) - {RANDOM_STREAM} and not outcome.exit_code
    if not meeting.suspicions and not is_blind:
        return Checked(options, outcome, meeting, [], 0)
    again = Meeting(options.world_size, ignored)
    with output_dropped():
        watched = _run(options, again, operators=True)
    failure = "" if outcome.exit_code or not watched.exit_code else watched.failure
    return Checked(options, outcome, again, again.findings, len(meeting.suspicions), failure)


def _run(options: RunOptions, meeting: Meeting, *, operators: bool) -> Outcome:
    around = partial(watched_ranks, meeting, operators=operators)
    # What logs operators sees collectives among them.
    with contextlib.nullcontext() if operators else launches_told():
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
