"""The records of several processes as one: a table and a trace."""

from __future__ import annotations

import json
from typing import Any

from polyrank.worlds.outcome import CollectiveRow, RunReport

__all__ = ["merged_report", "merged_trace"]

Record = dict[str, Any]  # as real/worker.py writes it


def merged_report(records: list[Record], world_size: int, seconds: float) -> RunReport:
    """Counts and bytes of all ranks together; the memory of the process that took most."""
    rows: dict[tuple[str, str, int], list[CollectiveRow]] = {}
    for record in records:
        for fields in record["report"]["collectives"]:
            row = CollectiveRow(**fields)
            rows.setdefault((row.kind, row.group, row.group_size), []).append(row)
    return RunReport(
        world_size=world_size,
        rank=None,
        collectives=[
            CollectiveRow(
                kind=kind,
                group=group,
                group_size=size,
                num_groups=1,
                count=sum(row.count for row in of_ranks),
                input_bytes=sum(row.input_bytes for row in of_ranks),
            )
            for (kind, group, size), of_ranks in rows.items()
        ],
        cohort_calls=0,
        rank_calls=0,
        seconds=seconds,
        peak_memory_bytes=max(
            (record["report"]["peak_memory_bytes"] for record in records), default=0
        ),
        num_processes=world_size,
        counts_all_ranks=True,
    )


def merged_trace(records: list[Record]) -> str:
    """The text of a trace file: each rank a process of its own, times since the first began.

    The clocks are those of one machine. docs/trace.md describes the fields.
    """
    zero = min((record["started"] for record in records), default=0.0)
    groups: dict[tuple[str, str], int] = {}
    entries: list[dict[str, Any]] = []
    launches: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for record in records:
        offset_us = (record["started"] - zero) * 1e6
        index = []
        for group in record["trace"]["groups"]:
            key = group["name"], group["ranks"]
            if key not in groups:
                groups[key] = len(entries)
                entries.append(group)
            index.append(groups[key])
        launches += [_later(launch, offset_us, index) for launch in record["trace"]["launches"]]
        events += _events_of(record, offset_us)
    launches.sort(key=lambda launch: launch["end_us"])
    version = records[0]["trace"]["schema_version"] if records else 1
    document = {
        "polyrank": {"schema_version": version, "groups": entries, "launches": launches},
        "displayTimeUnit": "ms",
        "traceEvents": events,
    }
    return json.dumps(document) + "\n"


def _later(launch: dict[str, Any], offset_us: float, groups: list[int]) -> dict[str, Any]:
    waited = launch["waited"] and launch["waited"] | {"us": launch["waited"]["us"] + offset_us}
    return launch | {
        "group": groups[launch["group"]],
        "start_us": launch["start_us"] + offset_us,
        "end_us": launch["end_us"] + offset_us,
        "waited": waited,
    }


def _events_of(record: Record, offset_us: float) -> list[dict[str, Any]]:
    rank = record["rank"]
    name = {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}}
    events = [name]
    for event in record["events"]:
        moved = event | {"pid": rank}
        if "ts" in event:
            moved["ts"] = event["ts"] + offset_us
        if "id" in event:  # arrows of different processes are different
            moved["id"] = f"{rank}.{event['id']}"
        events.append(moved)
    return events
