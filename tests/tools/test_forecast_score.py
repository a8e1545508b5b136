"""The rows that `make forecast-score` runs again: each row is either rebuilt or has a reason."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "forecast"


@pytest.fixture
def rebuild(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("rebuild")
    sys.modules.pop("rebuild", None)


def test_each_row_is_rebuilt_or_has_a_reason(rebuild: Any) -> None:
    rows = rebuild.measured_runs()
    assert len(rows) == 114
    outcomes = {row["id"]: rebuild.rebuilt(row) for row in rows}
    runs = {name: one for name, one in outcomes.items() if not isinstance(one, str)}
    assert len(runs) == 17
    assert all(one for one in outcomes.values() if isinstance(one, str))
    for row in rows:
        if row["id"] in runs:
            run = runs[row["id"]]
            argument = json.loads(run.argument)
            assert (FOLDER / "programs" / run.program).is_file()
            degrees = argument["fsdp"] * argument["dp_replicate"] * argument["tp"]
            assert degrees == run.ranks == int(row["n_gpus"])
            assert argument["batch"] * argument["fsdp"] == int(row["gbs"])


def test_clusters_and_clients_of_runs_are_there(rebuild: Any) -> None:
    from polyrank.forecast.clusters import find_cluster

    clients = (FOLDER.parents[1] / "clients" / "clients.toml").read_text()
    for row in rebuild.measured_runs():
        run = rebuild.rebuilt(row)
        if not isinstance(run, str):
            cluster = find_cluster(run.cluster)
            assert cluster.memory_mib.value / 1024 <= float(row["gpu_GB"])
            assert f'name = "{run.client}"' in clients
