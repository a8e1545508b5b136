"""What a run did, as a table."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from polyrank.any_world.rank_names import number_of_ranks
from polyrank.worlds.outcome import RunReport

__all__ = ["print_report"]


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
    title = f"{number_of_ranks(report.world_size)} in one process"
    if report.num_processes > 1:
        title = f"{number_of_ranks(report.world_size)}, a process each"
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
