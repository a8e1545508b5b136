"""Bubbles of Megatron-core's own schedules beside their closed formulas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import polyrank
import pytest
import torch
from pipelines import TOKENS, WIDTH, Block, cluster_of_free_links
from polyrank.forecast.clusters import find_cluster
from polyrank.forecast.speeds import gpu_table
from polyrank.forecast.together import Together, replayed
from torch import nn

pytest.importorskip("megatron.core")
from megatron.core import parallel_state
from megatron.core.enums import ModelType
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.transformer.transformer_config import TransformerConfig

RANKS, MICROBATCHES, STEPS = 4, 8, 2


class Chunk(nn.Module):
    """What Megatron's schedules ask of a part of a model."""

    model_type = ModelType.encoder_or_decoder

    def __init__(self, config: TransformerConfig, blocks: int) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.input: torch.Tensor | None = None

    def set_input_tensor(self, tensors: list[torch.Tensor | None]) -> None:
        self.input = tensors[0]

    def forward(self) -> Any:
        given = self.input
        if given is None:
            given = torch.empty(TOKENS, 1, WIDTH, device="cuda", dtype=torch.bfloat16)
        return self.blocks(given)


def forward_step(_: Iterator[None], chunk: Chunk) -> Any:
    return chunk(), lambda output: (output.sum(), {})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> str:
    return cluster_of_free_links(tmp_path_factory.mktemp("clusters"))


def train(chunks_a_rank: int, blocks: int, *, overlaps: bool) -> None:
    virtual = chunks_a_rank if chunks_a_rank > 1 else None
    parallel_state.initialize_model_parallel(
        pipeline_model_parallel_size=RANKS, virtual_pipeline_model_parallel_size=virtual
    )
    try:
        config = TransformerConfig(
            num_layers=RANKS * chunks_a_rank,
            hidden_size=WIDTH,
            num_attention_heads=128,
            pipeline_model_parallel_size=RANKS,
            virtual_pipeline_model_parallel_size=virtual,
            pipeline_dtype=torch.bfloat16,
            overlap_p2p_comm=overlaps,
            batch_p2p_comm=not overlaps,
        )
        chunks = [Chunk(config, blocks) for _ in range(chunks_a_rank)]
        parameters = [parameter for chunk in chunks for parameter in chunk.parameters()]
        optimizer = torch.optim.SGD(parameters)
        for _ in range(STEPS):
            data = [repeat(None) for _ in chunks]
            get_forward_backward_func()(
                forward_step_func=forward_step,
                data_iterator=data if virtual else data[0],
                model=chunks if virtual else chunks[0],
                num_microbatches=MICROBATCHES,
                seq_length=TOKENS,
                micro_batch_size=1,
            )
            optimizer.step()
            optimizer.zero_grad()
    finally:
        parallel_state.destroy_model_parallel()


def together_of(
    cluster: str,
    chunks_a_rank: int,
    blocks: tuple[int, ...] = (1,) * RANKS,
    *,
    overlaps: bool = False,
    slow: dict[int, float] | None = None,
) -> Together:
    recordings = []
    for rank in range(RANKS):
        with polyrank.forecast(cluster, RANKS, rank, time=True) as f:
            train(chunks_a_rank, blocks[rank], overlaps=overlaps)
        assert f.memory.fits
        assert f.timeline is not None
        recordings.append(f.timeline.recording(rank))
    return replayed(recordings, gpu_table(find_cluster(cluster)), slow=slow)


@pytest.mark.parametrize(("chunks_a_rank", "overlaps"), [(1, False), (2, False), (2, True)])
def test_bubbles_are_their_closed_formula(cluster: str, chunks_a_rank: int, overlaps: bool) -> None:
    together = together_of(cluster, chunks_a_rank, overlaps=overlaps)
    # Narayanan et al. 2021, section 2.2: (p - 1) / (v m) of the ideal time.
    ideal = (RANKS - 1) / (chunks_a_rank * MICROBATCHES)
    # Megatron waits for the GPU at each message: the CPU's launches count a bit.
    assert together.bubble == pytest.approx(ideal / (1 + ideal), rel=0.02)


def test_a_longer_last_stage_is_what_all_wait_for(cluster: str) -> None:
    even = together_of(cluster, 1)
    uneven = together_of(cluster, 1, (1, 1, 1, 2))
    # In thirds of a microbatch on a stage of one block: the last stage gets its first input at 3, works for
    # 8 x 6, and its last gradient goes back through three stages of 2. Even: (8 + 3) x 3.
    third = even.step_ns / (3 * (MICROBATCHES + RANKS - 1))
    assert uneven.step_ns / third == pytest.approx(3 + 8 * 6 + 3 * 2, rel=0.01)
    waits = [idle for idle in uneven.times[2].steady.idle if idle.cause == "lateness"]
    assert max(waits, key=lambda idle: idle.ns).group == "rank 3"
    assert uneven.bubble > even.bubble


def test_a_slow_rank_costs_all(cluster: str) -> None:
    even = together_of(cluster, 1)
    slow = together_of(cluster, 1, slow={3: 1.3})
    third = even.step_ns / (3 * (MICROBATCHES + RANKS - 1))
    assert slow.step_ns / third == pytest.approx(3 + 8 * 3 * 1.3 + 3 * 2, rel=0.01)
