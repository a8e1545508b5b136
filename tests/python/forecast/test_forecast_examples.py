"""The programs of examples/forecast, at small sizes, beside counts by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "forecast"
FLOAT, HALF = 4, 2  # bytes


def forecast(tmp_path: Path, ranks: int, script: str, *arguments: str, options: Any = ()) -> Any:
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "polyrank", "forecast", "--cluster", "dgx-h100"),
        *("--ranks", str(ranks), "--time", "--json", str(report), *options),
        *(str(EXAMPLES / script), *arguments),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(report.read_text())


def test_a_resnet_under_ddp(tmp_path: Path) -> None:
    small = ("--batch", "4", "--size", "64", "--blocks", "1", "1", "1", "1", "--width", "16")
    told = forecast(tmp_path, 8, "resnet_ddp.py", *small)
    owners = told["memory"]["peak"]["by_owner"]
    assert told["fits"]
    # Momentum is as large as the gradients, and these as the parameters.
    assert owners["optimizer states"] == owners["parameters"]
    (group,) = told["time"]["steps"][-1]["by_group"].values()
    assert group["communication_ns"] > 0
    assert told["time"]["tokens"] is None  # images


def test_transformers_llama_under_fsdp2(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    layers, hidden, inner, words, ranks = 4, 256, 512, 1000, 8
    sizes = {"layers": layers, "hidden": hidden, "inner": inner, "words": words}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    options += ["--heads", "4", "--kv-heads", "2", "--length", "128", "--batch", "2"]
    told = forecast(tmp_path, ranks, "transformers_llama_fsdp2.py", *options)
    layer = 2 * hidden**2 + 2 * hidden * hidden // 2 + 3 * hidden * inner + 2 * hidden
    parameters = 2 * words * hidden + hidden + layers * layer
    owners = told["memory"]["peak"]["by_owner"]
    # A share of each rank in single precision, in blocks of 512 bytes.
    assert owners["parameters"] == pytest.approx(parameters * FLOAT / ranks, rel=0.03)
    assert owners["optimizer states"] == pytest.approx(2 * parameters * FLOAT / ranks, rel=0.06)
    assert told["time"]["tokens"] == {"count": 256, "source": "what model.embed_tokens is given"}
    # Gathered for forward and once more for backward, and reduced: each layer and the rest.
    (group,) = told["time"]["steps"][-1]["by_group"].values()
    assert group["count"] in (3 * (layers + 1), 3 * (layers + 1) - 1)


def test_megatrons_gpt_with_all_three_parallelisms(tmp_path: Path) -> None:
    pytest.importorskip("megatron.core")
    small = ("--layers", "4", "--hidden", "128", "--heads", "4", "--words", "512", "--length", "64")
    cut = ("--tp", "2", "--pp", "2", "--microbatches", "4")
    told = forecast(
        tmp_path, 8, "megatron_gpt.py", *small, *cut, options=("--stages", "--jobs", "2")
    )
    assert [one["rank"] for one in told["ranks"]] == [0, 4]
    assert all(one["forecast"]["fits"] for one in told["ranks"])
    first, last = told["together"]["ranks"]
    assert first["tokens"] == {
        "count": 4 * 64,
        "source": "what module.module.embedding.word_embeddings is given in 4 forwards",
    }
    assert last["tokens"] is None  # the last stage has no embedding
    together = told["together"]
    late = [
        idle["ns"]
        for one in (first, last)
        for idle in one["steps"][-1]["idle"]
        if idle["cause"] == "lateness"
    ]
    assert together["bubble"] == pytest.approx(sum(late) / (2 * together["step_ns"]))
    # Two stages and four microbatches: (2 - 1) / (4 + 2 - 1) where stages take the same. Here one has
    # the embedding and the other the words' scores, and all are so small that the CPU's launches count.
    # test_megatron_schedules.py has equal stages that wait for nobody else.
    assert together["bubble"] == pytest.approx(1 / 5, abs=0.03)
