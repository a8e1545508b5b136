"""What became of a run: how it ended, and what ran."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CollectiveRow", "Outcome", "RunMeter", "RunReport"]


@dataclass(frozen=True)
class CollectiveRow:
    """The launches of one kind of collective on one group."""

    kind: str
    group: str
    group_size: int
    num_groups: int
    count: int  # launches, as one rank counts them
    input_bytes: int  # over all launches


@dataclass(frozen=True)
class RunReport:
    """The counts of one run."""

    world_size: int
    rank: int | None  # the one that ran, in the fake world; None: all
    collectives: list[CollectiveRow]
    cohort_calls: int  # operator calls that were made
    rank_calls: int  # operator calls that one per rank would have been
    seconds: float
    peak_memory_bytes: int  # of the process that took most
    num_processes: int = 1
    counts_all_ranks: bool = False  # `collectives` are of all ranks together, or of each


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    report: RunReport
    failure: str = ""  # what to tell of it, last: the cause's traceback, who exited, and the like
    error: dict[str, Any] | None = None  # `type` and `message` of what was raised
    trace: str | None = None  # the text of a trace file, if the options asked for one


@dataclass
class RunMeter:
    """Counts of this process from its making on; read() gives what came since."""

    world_size: int
    rank: int | None = None
    counts_all_ranks: bool = False
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        from polyrank import _C

        _C.reset_report()
        _C.reset_call_counts()

    def read(self) -> RunReport:
        """Counts and time up to now."""
        from polyrank import _C

        cohort_calls, rank_calls = _C.call_counts()
        rows = [
            CollectiveRow(
                kind=row["kind"],
                group=row["group"] or row["group_name"],
                group_size=row["group_size"],
                num_groups=row["num_groups"],
                count=row["count"],
                input_bytes=row["bytes"],
            )
            for row in _C.report()
        ]
        return RunReport(
            world_size=self.world_size,
            rank=self.rank,
            collectives=rows,
            cohort_calls=cohort_calls,
            rank_calls=rank_calls,
            seconds=time.perf_counter() - self.started,
            # Linux counts in KiB.
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            counts_all_ranks=self.counts_all_ranks,
        )
