"""Bubbles of torch.distributed.pipelining's schedules beside their closed formulas.

Stages are equal, and messages cost next to nothing: then the formulas are exact, except for what an optimizer and
the CPU take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
from pipelines import TOKENS, WIDTH, Block, cluster_of_free_links
from polyrank.forecast.clusters import find_cluster
from polyrank.forecast.speeds import gpu_table
from polyrank.forecast.together import Together, replayed
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
)

RANKS, MICROBATCHES = 4, 8
STEPS = 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield cluster_of_free_links(tmp_path_factory.mktemp("clusters"))


def activation(microbatches: int = 1) -> torch.Tensor:
    return torch.empty(microbatches * TOKENS, WIDTH, device="cuda", dtype=torch.bfloat16)


def train(schedule_class: Callable[..., Any], indices: list[int], num_stages: int) -> None:
    blocks = [Block() for _ in indices]
    device = torch.device("cuda", torch.cuda.current_device())
    stages = [
        PipelineStage(
            block,
            index,
            num_stages,
            device,
            input_args=(activation().requires_grad_(index > 0),),
            output_args=(activation().requires_grad_(),),
        )
        for block, index in zip(blocks, indices, strict=True)
    ]
    is_single = schedule_class in (ScheduleGPipe, Schedule1F1B)
    schedule = schedule_class(
        stages[0] if is_single else stages, MICROBATCHES, lambda output, _: output.sum()
    )
    parameters = [parameter for block in blocks for parameter in block.parameters()]
    optimizer = torch.optim.SGD(parameters)
    inputs = (activation(MICROBATCHES),) if 0 in indices else ()
    target = activation(MICROBATCHES) if num_stages - 1 in indices else None
    for _ in range(STEPS):
        schedule.step(*inputs, target=target)
        optimizer.step()
        optimizer.zero_grad()


def recordings_of(
    cluster: str, schedule_class: Callable[..., Any], stages_a_rank: int
) -> list[dict[str, Any]]:
    recordings = []
    for rank in range(RANKS):
        with polyrank.forecast(cluster, RANKS, rank, time=True) as f:
            indices = [rank + i * RANKS for i in range(stages_a_rank)]
            train(schedule_class, indices, RANKS * stages_a_rank)
        assert f.timeline is not None
        recordings.append(f.timeline.recording(rank))
    return recordings


def together_of(cluster: str, schedule_class: Callable[..., Any], stages_a_rank: int) -> Together:
    recordings = recordings_of(cluster, schedule_class, stages_a_rank)
    return replayed(recordings, gpu_table(find_cluster(cluster)))


@pytest.mark.parametrize(
    ("schedule_class", "stages_a_rank"),
    [(ScheduleGPipe, 1), (Schedule1F1B, 1), (ScheduleInterleaved1F1B, 2)],
)
def test_bubbles_are_their_closed_formula(
    cluster: str, schedule_class: Callable[..., Any], stages_a_rank: int
) -> None:
    together = together_of(cluster, schedule_class, stages_a_rank)
    # Narayanan et al. 2021, section 2.2: (p - 1) / (v m) of the ideal time.
    ideal = (RANKS - 1) / (stages_a_rank * MICROBATCHES)
    assert together.bubble == pytest.approx(ideal / (1 + ideal), rel=0.01)


@pytest.mark.parametrize("stages_a_rank", [1, 2])
def test_the_zero_bubble_is_what_is_published(cluster: str, stages_a_rank: int) -> None:
    together = together_of(cluster, ScheduleInterleavedZeroBubble, stages_a_rank)
    # Qi et al. 2023, table 1, ZB-H1: (p - 1) (T_F + T_B - T_W), where each is a third of a
    # microbatch on a stage. T_W is a bit longer here: gradients are added up.
    ideal = (RANKS - 1) / (3 * stages_a_rank * MICROBATCHES)
    assert together.bubble == pytest.approx(ideal / (1 + ideal), rel=0.05)


def test_a_slow_stage_holds_all_up(cluster: str) -> None:
    recordings = recordings_of(cluster, Schedule1F1B, 1)
    gpu = gpu_table(find_cluster(cluster))
    even = replayed(recordings, gpu)
    slow = replayed(recordings, gpu, slow={1: 1.5})
    # In thirds of a microbatch on a stage: stage 1 waits for its first input (1), and works for
    # 8 x 3 x 1.5. It has done three forwards at 5.5 when the first gradient comes at 8.5; after its last
    # backward comes that of stage 0 (2). 42 instead of (8 + 3) x 3.
    third = even.step_ns / (3 * (MICROBATCHES + RANKS - 1))
    assert slow.step_ns / third == pytest.approx(42, rel=0.01)
    assert slow.slow == {1: 1.5}
    waits = {idle.group for idle in slow.times[0].steady.idle if idle.cause == "lateness"}
    assert waits == {"rank 1"}
    assert slow.to_dict()["ranks"][1]["mfu"] < even.to_dict()["ranks"][1]["mfu"]
