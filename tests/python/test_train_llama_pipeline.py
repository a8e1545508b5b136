"""examples/llama as a pipeline: two stages, each with FSDP2, tensor and sequence parallelism.

On 8 ranks, as threads and as forked processes, it gives the losses and the weights of 8 processes of
torchrun bit for bit, and the losses of the model in one piece to rounding.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "llama"
PROCESSES = ("torch.distributed.run", "--standalone", "--nproc-per-node", "8")
WORLDS = {
    name: ("polyrank.cli", "run", "--world", name, "--ranks", "8")
    for name in ("threads", "processes")
}
LOCKSTEP = ("polyrank.cli", "run", "--world", "lockstep", "--ranks", "4")
NUM_STEPS = 5
NUM_STAGES = 2


def run(launcher: tuple[str, ...], script: str, *arguments: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", *launcher, str(FOLDER / script), "--tp=2", *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def stages(launcher: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """The losses and the full weights of each stage after some steps."""
    run(launcher, "train_pipeline.py", f"--steps={NUM_STEPS}", f"--save={folder}")
    return [
        torch.load(folder / f"stage{index}.pt", weights_only=False) for index in range(NUM_STAGES)
    ]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return stages(PROCESSES, tmp_path_factory.mktemp("torchrun"))


@pytest.mark.parametrize("world", WORLDS)
def test_as_in_processes_bit_for_bit(
    world: str, processes: list[dict[str, Any]], tmp_path: Path
) -> None:
    ours = stages(WORLDS[world], tmp_path)
    losses = ours[-1]["losses"]
    assert len(losses) == NUM_STEPS
    assert losses[-1] < 0.9 * losses[0]  # it learns, so that they tell something
    for stage, real in zip(ours, processes, strict=True):
        assert stage["losses"] == real["losses"]
        assert stage["weights"].keys() == real["weights"].keys()
        for name, weight in real["weights"].items():
            assert torch.equal(stage["weights"][name], weight), name


def test_as_the_model_in_one_piece(processes: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    run(LOCKSTEP, "train.py", f"--steps={NUM_STEPS}", f"--save={path}")
    whole = torch.load(path, weights_only=False)
    assert processes[-1]["losses"] == pytest.approx(whole["losses"], rel=1e-5)
    names = [name for stage in processes for name in stage["weights"]]
    assert sorted(names) == sorted(whole["weights"])
