"""`polyrank run`: a program does not wait for parts of PyTorch that it does not use, and has them exact when it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Each takes some tenths of a second, and more with what it imports itself.
SLOW = ("sympy", "torch._dynamo", "torch.distributed.checkpoint", "torch.distributed.tensor")

WORLDS = {
    "lockstep": ["--ranks", "2"],
    "threads": ["--ranks", "2"],
    "processes": ["--ranks", "2"],
    "fake": ["--ranks", "2", "--rank", "1"],
}


def run(folder: Path, program: str, world: str) -> str:
    (folder / "script.py").write_text(program)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", world, *WORLDS[world]]
    done = subprocess.run(
        [*command, "--no-serve", "script.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_not_used_is_not_imported(world: str, tmp_path: Path) -> None:
    program = f"""
import sys
import torch.distributed as dist
dist.init_process_group()
print("imported", [name for name in {SLOW} if name in sys.modules])
"""
    assert "imported []" in run(tmp_path, program, world)


LATE = """
import torch
import torch.distributed as dist
dist.init_process_group()
import torch.distributed.checkpoint as dcp
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
mesh = dist.init_device_mesh("cpu", (2,))
own = torch.arange(2.0) + 2 * dist.get_rank()
tensor = DTensor.from_local(own, mesh, [Shard(0)])
print("equal", torch.equal(tensor, distribute_tensor(torch.arange(4.0), mesh, [Shard(0)])))
dcp.save({"t": tensor}, checkpoint_id="saved")
state = {"t": DTensor.from_local(torch.zeros(2), mesh, [Shard(0)])}
dcp.load(state, checkpoint_id="saved")
print("loaded", state["t"].full_tensor().tolist())
"""


@pytest.mark.parametrize("world", ["lockstep", "processes"])
def test_what_is_imported_late_is_exact(world: str, tmp_path: Path) -> None:
    told = run(tmp_path, LATE, world)
    assert "equal True" in told
    assert "loaded [0.0, 1.0, 2.0, 3.0]" in told
