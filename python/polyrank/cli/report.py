"""What a run did, as a table."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from polyrank import _C


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


@dataclass
class RunMeter:
    """Counts from its making on; read() gives what came since."""

    world_size: int
    rank: int | None = None
    counts_all_ranks: bool = False
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        _C.reset_report()
        _C.reset_call_counts()

    def read(self) -> RunReport:
        """Counts and time up to now."""
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


def print_report(report: RunReport) -> None:
    """Print the tables to stderr, so that the script's own output stays as it is."""
    console = Console(file=sys.stderr)
    if report.collectives:
        is_sum = report.counts_all_ranks
        whose = "of all ranks together" if is_sum else "as each rank launched them"
        table = Table(title=f"Collectives, {whose}")
        for name in (
            "kind",
            "group",
            "size",
            "groups",
            "count",
            "bytes" if is_sum else "bytes a rank",
        ):
            table.add_column(name, justify="left" if name in ("kind", "group") else "right")
        for row in report.collectives:
            table.add_row(
                row.kind,
                row.group,
                f"{row.group_size:,}",
                f"{row.num_groups:,}",
                f"{row.count:,}",
                f"{row.input_bytes:,}",
            )
        console.print(table)
    _print_summary(console, report)


def _print_summary(console: Console, report: RunReport) -> None:
    saved = 1 - report.cohort_calls / report.rank_calls if report.rank_calls else 0.0
    title = f"{report.world_size:,} ranks in one process"
    if report.num_processes > 1:
        title = f"{report.world_size:,} ranks, a process each"
    if report.rank is not None:
        title = f"rank {report.rank:,} of {report.world_size:,}, alone"
    summary = Table(title=title, show_header=False)
    summary.add_column("what")
    summary.add_column("value", justify="right")
    if report.rank_calls:  # there were cohorts
        summary.add_row("operator calls, one per rank", f"{report.rank_calls:,}")
        summary.add_row("operator calls, one per cohort", f"{report.cohort_calls:,}")
        summary.add_row("saved", f"{saved:.1%}")
    summary.add_row("seconds", f"{report.seconds:.1f}")
    memory = "peak memory, largest process" if report.num_processes > 1 else "peak memory"
    summary.add_row(memory, f"{report.peak_memory_bytes / 2**20:,.0f} MiB")
    console.print(summary)
