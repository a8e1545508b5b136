"""NCCL's choices and times as it printed them, and as others measured them (nccl_logs.toml)."""

from __future__ import annotations

import statistics
import tomllib
from pathlib import Path
from typing import Any

import pytest
from polyrank import _C
from polyrank.forecast.clusters import find_cluster
from polyrank.forecast.speeds import core_speeds, nccl_tables

LOGS = tomllib.loads(Path(__file__).with_name("nccl_logs.toml").read_text())
# nccl-tests' factors from the payload's speed to the bus's, of so many ranks.
BUS = {
    "all_reduce": lambda ranks: 2 * (ranks - 1) / ranks,
    "all_gather": lambda ranks: (ranks - 1) / ranks,
    "reduce_scatter": lambda ranks: (ranks - 1) / ranks,
    "all_to_all": lambda ranks: (ranks - 1) / ranks,
}


def speeds_of(log: dict[str, Any]) -> _C.ClusterSpeeds:
    cluster = find_cluster(log["cluster"])
    speeds = core_speeds(cluster)
    if "host_cpu" in log:
        speeds.nccl = nccl_tables(cluster, log["host_cpu"])
    for name, value in log.get("links", {}).items():
        setattr(speeds.links, name, value)
    return speeds


def ids(logs: list[dict[str, Any]]) -> list[str]:
    return [f"{log['cluster']}-{log['ranks']}-{i}" for i, log in enumerate(logs)]


@pytest.mark.parametrize("log", LOGS["table"], ids=ids(LOGS["table"]))
def test_tables_are_what_nccl_printed(log: dict[str, Any]) -> None:
    def times(size: float) -> dict[str, float]:
        return _C.compared_times(speeds_of(log), log["kind"], log["ranks"], log["nodes"], size)

    small, large, larger = times(0), times(1e12), times(2e12)
    for choice, (latency, bandwidth) in log["rows"].items():
        if latency:
            assert small[choice] / 1e3 == pytest.approx(latency, abs=0.051), choice
        assert 1e12 / (larger[choice] - large[choice]) == pytest.approx(bandwidth, abs=0.051), (
            choice
        )


@pytest.mark.parametrize("log", LOGS["choice"], ids=ids(LOGS["choice"]))
def test_nccl_chose_the_same(log: dict[str, Any]) -> None:
    speeds = speeds_of(log)
    size, last = log["bytes"]
    changes = {int(at): choice for at, choice in log.get("forecast", log["from"]).items()}
    expected, chosen = [], []
    while size <= last:
        expected.append((size, changes[max(at for at in changes if at <= size)]))
        chosen.append(
            (size, _C.collective_time(speeds, "all_reduce", log["ranks"], log["nodes"], size)[0])
        )
        size *= 2
    assert chosen == expected


def errors(log: dict[str, Any]) -> dict[int, float]:
    """Of the forecast's speed on the bus, by bytes."""
    found = {}
    for size, measured in log["bus"].items():
        _, time = _C.collective_time(
            speeds_of(log), log["kind"], log["ranks"], log["nodes"], int(size)
        )
        found[int(size)] = int(size) / time * BUS[log["kind"]](log["ranks"]) / measured - 1
    return found


@pytest.mark.parametrize("log", LOGS["measured"], ids=ids(LOGS["measured"]))
def test_large_collectives_are_as_fast_as_was_measured(log: dict[str, Any]) -> None:
    found = errors(log)
    assert abs(found[max(found)]) < 0.2


def test_all_that_was_measured() -> None:
    """Small ones included: docs/forecast.md has these figures."""
    found = [error for log in LOGS["measured"] for error in errors(log).values()]
    assert statistics.mean(abs(error) for error in found) < 0.1
