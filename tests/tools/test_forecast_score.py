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
    assert len(runs) == 29
    assert all(one for one in outcomes.values() if isinstance(one, str))
    for row in rows:
        if row["id"] in runs:
            run = runs[row["id"]]
            argument = json.loads(run.argument)
            assert (FOLDER / "programs" / run.program).is_file()
            assert run.rank < run.ranks == int(row["n_gpus"])
            if run.client == "megatron-core":
                data_ranks = run.ranks // (argument["tp"] * argument["pp"])
                assert argument["batch"] * argument["microbatches"] * data_ranks == int(row["gbs"])
                assert f"{run.rank}:{row['mem_GiB']}" in row["notes"]
                continue
            degrees = argument["fsdp"] * argument["dp_replicate"] * argument["tp"]
            assert degrees == run.ranks
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


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, rebuild: Any) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER.parents[1] / "clients"))
    yield importlib.import_module("score")
    for name in ("score", "run"):
        sys.modules.pop(name, None)


def test_flops_of_a_token_are_those_of_published_mfus(rebuild: Any, score: Any) -> None:
    rows = {row["id"]: row for row in rebuild.measured_runs()}
    for name in ("43", "45", "60", "88", "90"):
        row = rows[name]
        mfu = float(row["tok_s_gpu"]) * score.flops_of_token(row) / 989.4e12
        assert mfu == pytest.approx(float(row["mfu_pct"]) / 100, rel=0.01)


def test_flops_of_a_model_without_a_name_are_by_its_shape(rebuild: Any, score: Any) -> None:
    row = next(row for row in rebuild.measured_runs() if row["id"] == "60")
    with_params = score.flops_of_token(row)
    assert score.flops_of_token(row | {"params_B": ""}) == pytest.approx(with_params, rel=1e-3)


def test_times_are_compared_beside_two_that_know_nothing(rebuild: Any, score: Any) -> None:
    rows = {row["id"]: row for row in rebuild.measured_runs()}
    row = rows["43"]
    told = {
        "tokens_per_second": 2 * 5605.0,
        "peak_flops": 989.4e12,
        "steps": [{"roofline_ns": 1.0}, {"roofline_ns": 1e9}],
    }
    times = score.times_of(row, rebuild.rebuilt(row), told)
    errors = times.errors()
    assert errors["polyrank"] == pytest.approx(1)
    assert errors["constant share"] == pytest.approx(0.4 / 0.328 - 1, rel=0.01)
    assert errors["roofline"] == pytest.approx(8192 / 5605 - 1)
    assert score.times_of(rows["94"], rebuild.rebuilt(rows["94"]), told) is None  # not measured
    assert score.times_of(row, rebuild.rebuilt(row), told | {"steps": []}) is None


def test_means_are_of_the_sizes_of_errors(score: Any) -> None:
    def scored(
        name: str, forecast: float, *, compiled: bool = False, held_out: bool = False
    ) -> Any:
        times = score.Times(100, forecast, 50, 300)
        return score.Scored(
            name, "x", "reserved", 1, 1, True, True, "c", compiled, held_out, 1, "", times
        )

    rows = [scored("1", 90), scored("2", 120, held_out=True), scored("3", 1, compiled=True)]
    means = score.time_means(rows)
    assert [(mean["source"], mean["rows"]) for mean in means] == [
        ("x", 2),
        ("x, compiled", 1),
        ("all that were not compiled on c: looked at", 1),
        ("all that were not compiled on c", 2),
        ("all that were not compiled on c: held out", 1),
    ]
    assert means[0]["polyrank"] == pytest.approx(0.15)
    assert means[0]["most"] == pytest.approx(0.2)
    assert means[0]["constant share"] == pytest.approx(0.5)
    assert means[0]["roofline"] == pytest.approx(2)
    assert means[2]["polyrank"] == pytest.approx(0.1)
    assert [mean["mean"] for mean in score.means(rows)] == [0] * len(means)


def test_a_source_is_held_out_or_looked_at(rebuild: Any) -> None:
    rows = [row for row in rebuild.measured_runs() if not isinstance(rebuild.rebuilt(row), str)]
    sources = {row["source"] for row in rows}
    assert set(rebuild.HELD_OUT) < sources


def test_what_a_forecast_tells_of_itself_is_of_runs_that_were_held_out(rebuild: Any) -> None:
    from polyrank.forecast.speeds import compared

    held = [
        row
        for row in rebuild.measured_runs()
        if row["source"] in rebuild.HELD_OUT
        and not isinstance(run := rebuild.rebuilt(row), str)
        and not run.is_compiled
    ]
    times, memory = compared("time", "h100-96gb-500w"), compared("memory", "h100-96gb-500w")
    assert times is not None
    assert memory is not None
    assert times.rows == sum(bool(row["tok_s_gpu"]) for row in held)
    assert memory.rows == sum(bool(row["mem_GiB"]) for row in held)
