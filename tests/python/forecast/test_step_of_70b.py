"""examples/llama/step_of_70b.py, with few layers and short sequences: the how-to's commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[3] / "examples" / "llama" / "step_of_70b.py"
LAYERS, RANKS = 4, 16
SMALL = ["--layers", str(LAYERS), "--batch", "32", "--seq-len", "512"]
OF_A_LAYER = 2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 28_672 + 2 * 8192
PARAMETERS = 2 * 128_256 * 8192 + 8192 + LAYERS * OF_A_LAYER


def polyrank(*arguments: str) -> str:
    command = [sys.executable, "-m", "polyrank.cli", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_sweep_compares_what_takes_the_same_batch(tmp_path: Path) -> None:
    report = tmp_path / "sweep.json"
    varied = ["--vary", "tp=1,2", "--vary", "recompute=none,full"]
    options = ["--cluster", "dgx-h100", "--ranks", str(RANKS), "--steps", "2", *varied]
    polyrank("sweep", *options, "--json", str(report), str(SCRIPT), *SMALL)
    results = json.loads(report.read_text())["results"]
    assert all(one["fits"] and not one["failure"] for one in results)
    by_setting: dict[tuple[str, str], dict[str, Any]] = {
        (one["setting"]["tp"], one["setting"]["recompute"]): one for one in results
    }
    assert len(by_setting) == 4
    for tp in ("1", "2"):
        none, full = by_setting[tp, "none"], by_setting[tp, "full"]
        assert full["peak_reserved"] < none["peak_reserved"]
        # More work, which a step may do while it waits for communication anyway (tp=2).
        assert full["step_ns"] - full["exposed_ns"] > none["step_ns"] - none["exposed_ns"]
        assert full["step_ns"] >= none["step_ns"]
    one, two = by_setting["1", "none"], by_setting["1", "full"]
    assert two["step_ns"] > one["step_ns"]
    # The same FLOPs of the model in the same batch: MFU is the inverse of the step.
    products = [one["mfu"] * one["step_ns"] for one in results]
    assert max(products) / min(products) < 1.01


def test_each_rank_holds_its_share(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--cluster", "dgx-h100", "--ranks", str(RANKS), "--steps", "2"]
    polyrank("forecast", *options, "--json", str(report), str(SCRIPT), *SMALL)
    owners = json.loads(report.read_text())["memory"]["peak"]["by_owner"]
    assert owners["parameters"] == PARAMETERS // RANKS * 4


def test_stages_wait_for_each_other(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--cluster", "dgx-h100", "--ranks", str(RANKS), "--stages", "--steps", "2", "--time"]
    cut = ["--pp", "2", "--tp", "2"]
    polyrank("forecast", *options, "--json", str(report), str(SCRIPT), *SMALL, *cut)
    told = json.loads(report.read_text())
    assert [one["rank"] for one in told["ranks"]] == [0, RANKS // 2]
    assert all(one["fits"] for one in told["ranks"])
    assert 0 < told["together"]["bubble"] < 0.5
