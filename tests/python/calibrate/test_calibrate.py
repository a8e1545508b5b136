"""Figures from times. A forecast's GPU has known ones: what is measured there must give them back."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import polyrank
import pytest
import torch
from polyrank.calibrate.fit import Fitted, fitted
from polyrank.calibrate.probes import Measured, measured
from polyrank.calibrate.table_file import table_text
from polyrank.calibrate.timing import GpuTimer
from polyrank.cli import calibrate as _command  # noqa: F401  adds itself to `app`
from polyrank.cli.app import app
from polyrank.errors import UsageError
from polyrank.forecast.clusters import find_cluster
from polyrank.forecast.speeds import GpuTable, find_table
from typer.testing import CliRunner

CLUSTER = "dgx-h100"


@pytest.fixture(scope="module")
def table() -> GpuTable:
    return find_table(find_cluster(CLUSTER).gpu_speeds or "")


@pytest.fixture(scope="module")
def times() -> Measured:
    with polyrank.forecast(CLUSTER, time=True):
        return measured(GpuTimer(), lambda _: None)


def with_other_figures(table: GpuTable) -> GpuTable:
    """The peaks are the same; all that is measured is another, so that none of it can come from here."""
    peaks = ("peak_", "memory_gb_s")
    figures = {
        name: figure if name.startswith(peaks) else dataclasses.replace(figure, value=0.5)
        for name, figure in table.figures.items()
    }
    return dataclasses.replace(table, figures=figures)


def test_the_figures_of_a_forecasts_gpu_are_found(times: Measured, table: GpuTable) -> None:
    assert not times.skipped
    figures = fitted(times, with_other_figures(table), 132)
    expected = {
        name: figure.value
        for name, figure in table.figures.items()
        if not name.startswith("peak_") and name not in ("memory_gb_s", "efficient_share_of_flash")
    }
    assert set(figures) == set(expected)
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(
        expected, rel=0.01
    )
    assert all(figure.off < 0.01 for figure in figures.values())


def test_errors_of_measurement_are_told(times: Measured, table: GpuTable) -> None:
    draw = random.Random(0)
    matmuls = [
        dataclasses.replace(one, seconds=one.seconds * draw.uniform(0.95, 1.05))
        for one in times.matmuls
    ]
    figures = fitted(dataclasses.replace(times, matmuls=matmuls), table, 132)
    assert figures["matmul_efficiency"].value == pytest.approx(0.837, rel=0.05)
    assert 0.01 < figures["matmul_efficiency"].off < 0.05


def test_a_table_of_another_gpu_is_refused(times: Measured) -> None:
    with pytest.raises(UsageError, match="of the peak in table a100-sxm-80gb: that is of another"):
        fitted(times, find_table("a100-sxm-80gb"), 132)


def test_the_file_is_a_table(table: GpuTable, tmp_path: Path) -> None:
    figures = {
        "kernel_us": Fitted(3.14159265, 1, 0),
        "matmul_efficiency": Fitted(0.7, 20, 0.034),
        "fp8_matmul_efficiency": Fitted(0.6, 20, 0.05),
    }
    file = tmp_path / "my gpu.toml"
    file.write_text(table_text(table, figures, 'a "GPU", torch 2.13'))
    read = find_table(str(file))
    assert read.name == "my gpu"
    assert (read.generation, read.tiles, read.tiles_source) == (
        table.generation,
        table.tiles,
        table.tiles_source,
    )
    assert read.value("kernel_us") == 3.1416
    measured_ = read.figures["matmul_efficiency"]
    assert measured_.value == 0.7
    assert measured_.source == 'measured on a "GPU", torch 2.13: 20 times, off by 3.4% on average'
    others = set(table.figures) - set(figures)
    assert all(read.figures[name] == table.figures[name] for name in others)


def test_the_command_measures_the_gpu_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    with polyrank.forecast(CLUSTER, time=True):
        run = CliRunner().invoke(app, ["calibrate", str(file)])
    assert run.exit_code == 0, run.output
    assert "matmul_efficiency 0.83" in run.output
    made = find_table(str(file))
    assert "NVIDIA H100 80GB HBM3" in made.figures["kernel_us"].source
    assert made.value("kernel_us") == pytest.approx(2, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    run = CliRunner().invoke(app, ["calibrate", str(file)])
    assert run.exit_code == 2
    assert "measures a GPU, and torch has none here" in run.output
    assert not file.exists()


def test_a_gpu_without_a_table_needs_one_to_be_named(tmp_path: Path) -> None:
    text = Path(find_table.__code__.co_filename).with_name("clusters") / "dgx-h100.toml"
    other = tmp_path / "other.toml"
    other.write_text(text.read_text().replace("NVIDIA H100 80GB HBM3", "NVIDIA X1"))
    with polyrank.forecast(str(other), time=True):
        run = CliRunner().invoke(app, ["calibrate", str(tmp_path / "mine.toml")])
    assert run.exit_code == 2
    assert "no cluster has a 'NVIDIA X1': say which table has its peaks (--like)" in run.output
