"""A process that has had gradients of virtual GPUs may be forked."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import polyrank, torch

def step(device):
    x = torch.ones(3, device=device, requires_grad=True)
    (x * x).sum().backward()
    return float(x.grad.sum())

with {world}:
    step("cuda")
print(polyrank.run_ranks(step, 2, "cpu", world="processes"))
"""


@pytest.mark.parametrize("world", ["polyrank.virtual_gpu(2)", "polyrank.forecast(world_size=4)"])
def test_ranks_that_are_processes_take_gradients(world: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(world=world)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "[6.0, 6.0]\n", done.stderr
