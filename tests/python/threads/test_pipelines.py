"""torch.distributed.pipelining on ranks that are threads gives the gradients of the whole model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
)

NUM_BLOCKS = 4
NUM_MICROBATCHES = 4
CPU = torch.device("cpu")


def make_blocks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(NUM_BLOCKS)]


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 8, generator=generator), torch.randn(16, 8, generator=generator)


def mean_square(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((output - target) ** 2).mean()


def gradients_of(blocks: list[nn.Module], indices: list[int]) -> dict[str, torch.Tensor]:
    return {
        f"{index}.{name}": parameter.grad.clone()
        for index in indices
        for name, parameter in blocks[index].named_parameters()
        if parameter.grad is not None
    }


def one_stage_a_rank(schedule: Callable[..., Any]) -> tuple[Any, list[nn.Module], list[int]]:
    rank, size = dist.get_rank(), dist.get_world_size()
    blocks, length = make_blocks(), NUM_BLOCKS // size
    indices = list(range(rank * length, (rank + 1) * length))
    stage = PipelineStage(nn.Sequential(*(blocks[i] for i in indices)), rank, size, CPU)
    return schedule(stage, NUM_MICROBATCHES, mean_square), blocks, indices


def two_stages_a_rank(schedule: Callable[..., Any]) -> tuple[Any, list[nn.Module], list[int]]:
    rank, size = dist.get_rank(), dist.get_world_size()
    blocks, indices = make_blocks(), [rank, rank + size]
    stages = [PipelineStage(blocks[i], i, NUM_BLOCKS, CPU) for i in indices]
    return schedule(stages, NUM_MICROBATCHES, mean_square), blocks, indices


def program(
    make: Callable[..., tuple[Any, list[nn.Module], list[int]]], schedule: Callable[..., Any]
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    runner, blocks, indices = make(schedule)
    inputs, targets = make_batch()
    losses: list[torch.Tensor] = []
    if dist.get_rank() == 0:
        runner.step(inputs)
    else:
        runner.step(target=targets, losses=losses)
    return gradients_of(blocks, indices), losses


@pytest.mark.parametrize(
    ("make", "schedule"),
    [
        (one_stage_a_rank, ScheduleGPipe),
        (one_stage_a_rank, Schedule1F1B),
        (two_stages_a_rank, ScheduleInterleaved1F1B),
    ],
)
@pytest.mark.parametrize("order", ["in_turn", "random"])
def test_as_the_whole_model(make: Any, schedule: Any, order: str) -> None:
    blocks = make_blocks()
    inputs, targets = make_batch()
    loss = mean_square(nn.Sequential(*blocks)(inputs), targets)
    loss.backward()
    expected = gradients_of(blocks, list(range(NUM_BLOCKS)))

    results = polyrank.run_ranks(program, 2, make, schedule, schedule=order, seed=7)
    gradients = {name: gradient for of_rank, _ in results for name, gradient in of_rank.items()}
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient)
    torch.testing.assert_close(torch.stack(results[1][1]).mean(), loss.detach())
