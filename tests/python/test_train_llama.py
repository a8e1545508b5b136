"""examples/llama is one program: DTensor, tensor and sequence parallelism, FSDP2.

Real processes, lockstep and threads give the same losses and the same weights bit for bit (groups
of two: each sum has two summands), and one device gives them to rounding.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "llama"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "4")
LOCKSTEP = ("polyrank.cli", "run", "--world", "lockstep", "--ranks")
THREADS = ("polyrank.cli", "run", "--world", "threads", "--ranks")
NUM_STEPS = 5


def train(launcher: tuple[str, ...], path: Path, *arguments: str) -> dict[str, Any]:
    """The losses and the full weights after some steps."""
    options = ("--steps", str(NUM_STEPS), "--save", str(path), *arguments)
    done = subprocess.run(
        (sys.executable, "-m", *launcher, str(FOLDER / "train.py"), *options),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = torch.load(path, weights_only=False)
    assert len(result["losses"]) == NUM_STEPS
    return result


@pytest.fixture(scope="module")
def lockstep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train((*LOCKSTEP, "4"), tmp_path_factory.mktemp("lockstep") / "4.pt", "--tp", "2")


def test_as_in_real_processes_bit_for_bit(lockstep: dict[str, Any], tmp_path: Path) -> None:
    real = train((*TORCHRUN, "--local-ranks-filter=0"), tmp_path / "real.pt", "--tp", "2")
    assert lockstep["losses"] == real["losses"]
    assert real["losses"][-1] < 0.9 * real["losses"][0]  # it learns, so that they tell something
    assert lockstep["weights"].keys() == real["weights"].keys()
    for name, weight in real["weights"].items():
        assert torch.equal(lockstep["weights"][name].reconcile(), weight), name


def test_ranks_that_are_threads_give_the_same(lockstep: dict[str, Any], tmp_path: Path) -> None:
    threads = train((*THREADS, "4"), tmp_path / "threads.pt", "--tp", "2")
    assert threads["losses"] == lockstep["losses"]
    for name, weight in threads["weights"].items():
        assert torch.equal(lockstep["weights"][name].reconcile(), weight), name


def test_as_on_one_device_to_rounding(lockstep: dict[str, Any], tmp_path: Path) -> None:
    alone = train((*LOCKSTEP, "1"), tmp_path / "1.pt", "--tp", "1")
    assert lockstep["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    for name, weight in alone["weights"].items():
        expected, actual = weight.reconcile(), lockstep["weights"][name].reconcile()
        assert (actual - expected).norm() <= 1e-4 * expected.norm(), name


def test_the_example_does_not_know_polyrank() -> None:
    assert not any(
        "polyrank" in re.sub("polyrank (run|sweep|forecast) ", "", line)
        for file in FOLDER.glob("*.py")
        for line in file.read_text().splitlines()
    )
