"""examples/train_digits.py is one program: processes, lockstep and threads give the same losses.

How close: with 2 ranks in each group, bit for bit, since each sum has two summands. With 4, to
rounding: lockstep adds in rank order, while gloo's ring starts each piece of a tensor at another
rank, and float addition is not associative.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_digits.py"
TORCHRUN = (
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "4",
    "--local-ranks-filter=0",
)
LOCKSTEP = ("polyrank.cli", "run", "--world", "lockstep", "--ranks", "4")
THREADS = ("polyrank.cli", "run", "--world", "threads", "--ranks", "4")


def train(launcher: tuple[str, ...], losses: Path, tp: int) -> tuple[str, list[float]]:
    """What rank 0 prints, and the loss of each of 22 steps."""
    arguments = ("--tp", str(tp), "--epochs", "2", "--losses", str(losses))
    done = subprocess.run(
        (sys.executable, "-m", *launcher, str(EXAMPLE), *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(losses.read_text())
    assert len(values) == 22
    return done.stdout, values


def test_groups_of_two_give_the_same_losses_bit_for_bit(tmp_path: Path) -> None:
    real_text, real = train(TORCHRUN, tmp_path / "real.json", tp=2)
    text, lockstep = train(LOCKSTEP, tmp_path / "lockstep.json", tp=2)
    assert lockstep == real
    assert text == real_text
    of_all_ranks, threads = train(THREADS, tmp_path / "threads.json", tp=2)
    assert threads == real
    for line in real_text.splitlines():
        assert [f"[rank{rank}]: {line}" in of_all_ranks for rank in range(4)] == [True] * 4
    assert real[-1] < real[0] * 0.98  # it learns, so that the losses tell something


def test_groups_of_four_give_the_same_losses_to_rounding(tmp_path: Path) -> None:
    _, real = train(TORCHRUN, tmp_path / "real.json", tp=4)
    _, lockstep = train(LOCKSTEP, tmp_path / "lockstep.json", tp=4)
    assert lockstep == pytest.approx(real, rel=1e-5)
    assert train(THREADS, tmp_path / "threads.json", tp=4)[1] == lockstep


def test_the_example_does_not_know_polyrank() -> None:
    imported = set()
    for node in ast.walk(ast.parse(EXAMPLE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert "torch" in imported
    assert "polyrank" not in imported
