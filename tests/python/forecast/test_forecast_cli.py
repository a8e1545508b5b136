"""`polyrank forecast` and `polyrank clusters`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
width = int(sys.argv[1])
with torch.device("cuda"):
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(4)))
for layer in model:
    fully_shard(layer)
fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters())
step = 0
while True:
    model(torch.randn(8, width, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    step += 1
    print("step", step, dist.get_rank(), dist.get_world_size(), flush=True)
"""


def polyrank(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_an_unchanged_script_is_forecast(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    report, snapshot = tmp_path / "report.json", tmp_path / "snapshot.pickle"
    options = ["--cluster", "dgx-h100", "--ranks", "512", "--rank", "17", "--steps", "2"]
    files = ["--json", str(report), "--snapshot", str(snapshot)]
    result = polyrank("forecast", *options, *files, str(script), "1024")
    assert result.returncode == 0, result.stderr
    assert "step 1 17 512" in result.stdout
    assert "step 3" not in result.stdout  # it is ended after two steps
    assert "rank 17 of 512 on dgx-h100" in result.stdout
    document = json.loads(report.read_text())
    assert document["fits"] is True
    owners = document["memory"]["peak"]["by_owner"]
    shards = 4 * (1024 * 1024 // 512 * 4 + 512)  # of weights; biases take a block each
    assert owners["parameters"] == shards
    assert document["memory"]["num_communicators"] == 1
    assert snapshot.stat().st_size > 0


def test_times_are_forecast_where_they_are_asked_for(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    report, trace = tmp_path / "report.json", tmp_path / "a trace.json"
    options = ["--cluster", "dgx-h100", "--ranks", "16", "--rank", "9", "--steps", "2"]
    times = ["--tokens", "8", "--trace", str(trace), "--json", str(report)]
    result = polyrank("forecast", *options, *times, str(script), "1024")
    assert result.returncode == 0, result.stderr
    assert "tokens a second, of this rank" in result.stdout
    told = json.loads(report.read_text())["time"]
    assert told["tokens_per_second"] == pytest.approx(8 / (told["step_ns"] * 1e-9))
    # FSDP gathers each of four layers for forward and for backward, and reduces its gradient.
    groups = list(told["steps"][-1]["by_group"].values())
    assert [group["count"] for group in groups] == [4 + 4 + 4]
    assert told["exposed_communication_ns"] > 0
    events = json.loads(trace.read_text())["traceEvents"]
    streams = {
        event["tid"] for event in events if event["name"] in ("all_gather", "reduce_scatter")
    }
    kernels = {event["tid"] for event in events if event["name"] == "aten::mm" and event["tid"]}
    assert len(streams - {0}) == 2  # FSDP gathers on one stream and reduces on another
    assert not kernels & (streams - {0})


def test_a_cluster_without_figures_for_times_is_refused(
    tmp_path: Path, cluster_without_times: str
) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    result = polyrank("forecast", "--cluster", cluster_without_times, "--time", str(script), "64")
    assert result.returncode == 2
    assert "has no figures for times" in " ".join(result.stderr.replace("│", " ").split())


def test_what_does_not_fit_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    result = polyrank("forecast", "--cluster", "dgx-a100-40", "--ranks", "1", str(script), "40000")
    assert result.returncode == 117, result.stderr
    assert "does not fit" in result.stdout
    assert "CUDA out of memory" in result.stderr


@pytest.mark.parametrize(
    ("program", "says", "exit_code"),
    [
        ("x = torch.empty(256, device='cuda')", "79.11 GiB): fits, ", 0),
        ("x = torch.empty(256, device='cuda'); raise KeyError('no')", "an error ended it, up to which it fits, ", 1),
        ("try:\n    torch.empty(2**37, device='cuda')\nexcept torch.OutOfMemoryError:\n    pass", "it ran out of memory, and went on\n", 117),
    ],
)  # fmt: skip
def test_a_program_that_an_error_ended_or_did_not(
    tmp_path: Path, program: str, says: str, exit_code: int
) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import torch\n{program}\n")
    result = polyrank("forecast", "--cluster", "dgx-h100", "--ranks", "1", str(script))
    assert says in result.stdout
    assert result.returncode == exit_code, result.stderr


def test_clusters_are_listed_with_their_sources() -> None:
    result = polyrank("clusters")
    assert result.returncode == 0
    assert "dgx-h100: 8 x NVIDIA H100 80GB HBM3" in result.stdout
    assert "issue 964" in result.stdout


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    result = polyrank("forecast", "--cluster", "dgx-h1", str(script))
    assert result.returncode == 2
    assert "there is no cluster" in result.stderr


def test_wrong_settings_of_the_allocator_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('ran')\n")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segmens:True")
    result = polyrank("forecast", "--cluster", "dgx-h100", "--ranks", "8", str(script))
    assert result.returncode == 2
    assert "PYTORCH_CUDA_ALLOC_CONF is 'expandable_segmens:True'" in result.stderr
    assert "Unrecognized key" in result.stderr
    assert "Traceback" not in result.stderr
    assert "ran" not in result.stdout


def test_it_runs_out_at_the_same_operator_each_time(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import torch\n"
        "with torch.device('cuda'):  # at once: a tensor of the CPU would have its bytes\n"
        "    layers = torch.nn.Sequential(*(torch.nn.Linear(8192, 8192) for _ in range(60)))\n"
        "optimizer = torch.optim.AdamW(layers.parameters())\n"
        "layers(torch.empty(4096, 8192, device='cuda')).sum().backward()\n"
        "optimizer.step()\n"
    )
    told = [
        polyrank("forecast", "--cluster", "dgx-a100-40", "--ranks", "8", str(script))
        for _ in range(2)
    ]
    assert [one.returncode for one in told] == [117, 117]
    assert told[0].stdout == told[1].stdout
    assert told[0].stderr == told[1].stderr
    assert "torch.OutOfMemoryError: CUDA out of memory" in told[0].stderr
