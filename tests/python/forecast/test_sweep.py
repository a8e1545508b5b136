"""`polyrank sweep`: all settings are forecast, the fastest that fits comes first, and a second run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.errors import UsageError
from polyrank.forecast.sweep import Result, Sweep, ordered, parse_variations, sweep_page

SCRIPT = """
import sys
import torch

options = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])
if options["width"] == "0":
    raise ValueError("no width")
width = int(options["width"])
model = torch.nn.Linear(width, width, bias=False, device="cuda", dtype=torch.bfloat16)
optimizer = torch.optim.SGD(model.parameters())
for _ in range(2):
    model(torch.empty(int(options["batch"]), width, device="cuda", dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
"""


def sweep_of(script: str, *arguments: str, **variations: list[str]) -> Sweep:
    return Sweep(("--cluster", "dgx-h100"), script, arguments, variations)


def test_variations_are_names_and_values() -> None:
    assert parse_variations(["tp=1,2", "ac=full"]) == {"tp": ["1", "2"], "ac": ["full"]}


@pytest.mark.parametrize("text", ["tp", "tp=", "=1", "tp=1,,2", "tp=1,1"])
def test_what_is_no_variation_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"not of the form|twice"):
        parse_variations([text])
    with pytest.raises(UsageError, match="varied twice"):
        parse_variations(["tp=1", "tp=2"])


def test_settings_are_all_combinations() -> None:
    settings = list(sweep_of("x.py", a=["1", "2"], b=["3", "4"]).settings())
    assert settings == [{"a": a, "b": b} for a in "12" for b in "34"]


def test_a_setting_takes_its_place_in_the_arguments_or_is_added() -> None:
    sweep = sweep_of("x.py", "--config={tp}.toml", "{other}", tp=["2"], batch=["4"])
    program = sweep.program({"tp": "2", "batch": "4"})
    assert program == ["x.py", "--config=2.toml", "{other}", "--batch=4"]


def result(mfu: float | None, *, fits: bool = True, failure: str = "") -> Result:
    return Result({"a": str(mfu)}, fits, 1, mfu, 0, 2**30, failure)


def test_the_fastest_that_fits_comes_first() -> None:
    failed, late = result(None, fits=False, failure="?"), result(0.2)
    best, too_large = result(0.4), result(0.6, fits=False)
    assert ordered([failed, too_large, late, best]) == [best, late, too_large, failed]


def test_results_of_another_sweep_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    sweep = sweep_of("x.py", a=["1", "2"])
    assert sweep.read(file) == []
    one = Result({"a": "1"}, True, 5, 0.4, 0, 2**30, "")
    file.write_text(json.dumps(sweep.document([one])))
    assert sweep.read(file) == [one]
    assert sweep_of("x.py", a=["2"]).read(file) == []
    with pytest.raises(UsageError, match="another sweep"):
        sweep_of("y.py", a=["1"]).read(file)
    file.write_text("[]")
    with pytest.raises(UsageError, match="no results of a sweep"):
        sweep.read(file)


def polyrank(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "sweep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


def test_a_sweep_is_run_and_goes_on(tmp_path: Path) -> None:
    script, kept = tmp_path / "a script.py", tmp_path / "kept.json"
    script.write_text(SCRIPT)
    options = ["--cluster", "dgx-a100-40", "--steps", "2", "--jobs", "2", "--json", str(kept)]
    # 8 GiB, 200 GiB of weights, and an error.
    values = ["--vary", "batch=4096", "--vary", "width=0,8192,327680"]
    run = polyrank(*options, *values, str(script))
    assert run.returncode == 0, run.stderr
    told = {one["setting"]["width"]: one for one in json.loads(kept.read_text())["results"]}
    assert list(told) == ["8192", "327680", "0"]
    assert told["8192"]["fits"]
    assert 0.3 < told["8192"]["mfu"] < 1
    assert not told["327680"]["fits"]
    assert told["327680"]["step_ns"] is None
    assert told["0"]["failure"] == "ValueError: no width"
    assert "does not fit" in run.stdout

    script.write_text("raise SystemExit(3)")  # what is known is not run again
    again = polyrank(*options, *values, str(script))
    assert again.returncode == 0
    assert again.stdout == run.stdout


def test_none_that_fits_is_an_exit_code(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    run = polyrank("--vary", "width=0", "--vary", "batch=1", str(script))
    assert run.returncode == 117
    assert "ValueError: no width" in run.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--vary", "tp"], "NAME=VALUE"),
        (["--vary", "tp=1", "--cluster", "none"], "there is no cluster"),
    ],
)
def test_wrong_options_are_told(options: list[str], words: str) -> None:
    run = polyrank(*options, "x.py")
    assert run.returncode == 2
    assert words in " ".join(run.stderr.replace("│", " ").split())


def test_a_cluster_without_figures_for_times_is_told(cluster_without_times: str) -> None:
    run = polyrank("--vary", "tp=1", "--cluster", cluster_without_times, "x.py")
    assert run.returncode == 2
    assert "no figures for times" in " ".join(run.stderr.replace("│", " ").split())


def test_the_page_has_a_point_for_each_forecast() -> None:
    pytest.importorskip("plotly")
    failed = result(None, fits=False, failure="?")
    page = sweep_page([result(0.4), result(0.6, fits=False), failed], "a title")
    assert "a title" in page
    assert page.count('"a=0.4"') == page.count('"a=0.6"') == 1
    assert '"a=None"' not in page
