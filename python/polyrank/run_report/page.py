"""The page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyrank.any_world.rank_names import number_of_ranks
from polyrank.output.html_page import page_text
from polyrank.run_report.cohorts import cohorts_over_time, is_shared
from polyrank.run_report.communication import bytes_by_group, bytes_by_group_and_module
from polyrank.run_report.failure_graph import failure_graph, nodes_of
from polyrank.run_report.recorded import Launch, Recorded
from polyrank.run_report.table import table_text
from polyrank.run_report.timeline import timeline

__all__ = ["run_page"]

_MIB = 2**20


def run_page(recorded: Recorded) -> str:
    """The HTML file's text: what failed, as a graph; the timeline; who sends how much; who shares what."""
    run, launches = recorded.run, recorded.launches
    error = run.get("error") or {}
    nodes = nodes_of(error.get("message", ""))
    pictures: list[Any] = []
    if nodes:
        pictures.append(failure_graph(nodes))
    if launches:
        pictures += [
            timeline(launches),
            bytes_by_group(launches),
            bytes_by_group_and_module(launches),
        ]
    if is_shared(launches):
        pictures.append(cohorts_over_time(launches))
    failed = f"{error['type']}: {error['message']}\n\n" if error else ""
    report = failed + (table_text(launches) if launches else "no collective was recorded\n")
    return page_text(_title(run), pictures, report, _facts(run, launches))


def _title(run: dict[str, Any]) -> str:
    if not run:
        return "polyrank: a recorded run"
    return f"{run['script']} on {number_of_ranks(run['world_size'])}, world {run['world']}"


def _facts(run: dict[str, Any], launches: Sequence[Launch]) -> list[tuple[str, str]]:
    facts = [("launches", f"{len(launches):,}")]
    if not run:
        return facts
    facts += [
        ("command", " ".join([run["script"], *run["arguments"]])),
        ("exit code", str(run["exit_code"])),
        ("seconds", f"{run['seconds']:.1f}"),
        ("peak memory", f"{run['peak_memory_bytes'] / _MIB:,.0f} MiB{_of_whom(run)}"),
    ]
    if run["rank_calls"]:
        calls, of_ranks = run["cohort_calls"], run["rank_calls"]
        text = (
            f"{calls:,} by cohort instead of {of_ranks:,} by rank: {1 - calls / of_ranks:.1%} saved"
        )
        facts.append(("operator calls", text))
    return facts


def _of_whom(run: dict[str, Any]) -> str:
    return ", of the process that took most" if run["num_processes"] > 1 else ""
