"""Random programs: polyrank, plain torch rank by rank and PyTorch's simulator agree bit for bit.

What the simulator gets wrong (docs/differences.md) is left out of the programs that it runs.
POLYRANK_SWEEP=1: many more programs.
"""

from __future__ import annotations

from typing import Any

import polyrank
import torch
import torch.distributed as dist
from hypothesis import given
from oracle.lockstep_programs import Program, programs, run_in_lockstep, run_reference, start
from oracle.rank_by_rank import assert_each_rank, tensor_difference
from oracle.simulator import in_simulator_on_rank, simulator
from torch.distributed import _local_tensor


@given(programs())
def test_polyrank_gives_each_rank_what_it_gets_alone(program: Program) -> None:
    steps, expected = run_reference(program, for_simulator=False)
    with polyrank.lockstep(world_size=program.world_size):
        state = start(dist.get_rank(), polyrank.rank_map)
        run_in_lockstep(program, steps, state)
    actual: Any = (state.tensors, state.ints)
    assert_each_rank(actual, {r: (own.tensors, own.ints) for r, own in enumerate(expected)})


@given(programs())
def test_local_tensor_mode_does_but_for_its_documented_differences(program: Program) -> None:
    steps, expected = run_reference(program, for_simulator=True)
    with simulator(program.world_size) as rank:
        state = start(rank, _local_tensor.rank_map)
        run_in_lockstep(program, steps, state)
    for number, own in enumerate(expected):
        tensors = in_simulator_on_rank(state.tensors, number)
        found = [tensor_difference(*pair) for pair in zip(tensors, own.tensors, strict=True)]
        assert found == [None] * len(found), f"rank {number} after {steps}: {found}"
        assert in_simulator_on_rank(state.ints, number) == own.ints


def test_assigning_up_to_a_rank_in_a_tensor_as_short_as_that() -> None:
    with polyrank.lockstep(world_size=2):
        x = torch.zeros(1)
        x[: dist.get_rank()] = 1
        assert_each_rank(x, {0: torch.zeros(1), 1: torch.ones(1)})


def test_gradient_where_only_some_ranks_broadcast() -> None:
    with polyrank.lockstep(world_size=2):
        x = polyrank.rank_map(lambda rank: torch.ones(rank + 1, 3)).requires_grad_()
        (gradient,) = torch.autograd.grad((x * torch.ones(2, 3)).sum(), x)
        assert_each_rank(gradient, {0: torch.full((1, 3), 2.0), 1: torch.ones(2, 3)})
