"""An MLP whose matrices are split over 64 ranks, beside a count by hand, to the byte."""

from __future__ import annotations

from itertools import pairwise

import polyrank
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

RANKS = 64
TOKENS = 2048
WIDTH = 4096
FLOAT = 4  # bytes

# What each tensor takes; all are multiples of the allocator's 512 bytes.
WEIGHT = WIDTH * 4 * WIDTH // RANKS * FLOAT  # a shard of one matrix
HIDDEN = TOKENS * 4 * WIDTH // RANKS * FLOAT  # a shard
WHOLE = TOKENS * WIDTH * FLOAT  # input, output and their gradients


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.down(nn.functional.gelu(self.up(x)))
        return result


def split_mlp() -> nn.Module:
    with torch.device("meta"):
        model = MLP()
    mesh = init_device_mesh("cuda", (RANKS,))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    return parallelize_module(model, mesh, plan).to_empty(device="cuda")


def test_a_step_is_the_count_by_hand() -> None:
    """The rank's own program: what it holds after each phase, and the most within each."""
    counted: list[tuple[int, int]] = []

    def count() -> None:
        counted.append((torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()))
        torch.cuda.reset_peak_memory_stats()

    with polyrank.forecast("dgx-h100", world_size=RANKS, rank=5) as f:
        model = split_mlp()
        x = torch.randn(TOKENS, WIDTH, device="cuda")
        count()
        y = model(x)
        count()
        gradient = torch.randn_like(y)
        count()
        y.backward(gradient)
        count()
    made = 2 * WEIGHT + WHOLE
    # Both halves of the hidden layer are kept for backward; the sum over ranks is a tensor of its
    # own, which is there together with what this rank adds to it.
    forward = made + 2 * HIDDEN + WHOLE
    backward = forward + WHOLE
    assert counted == [
        (made, made),
        (forward, forward + WHOLE),
        (backward, backward),
        # Most is held when the gradients of the second matrix and of its input are there, or of the
        # first one, with that of its output: the hidden layer's own two are gone by then.
        (made + 2 * WHOLE + 2 * WEIGHT, backward + WEIGHT + HIDDEN),
    ]
    assert f.memory.peak_allocated == max(most for _, most in counted)
    assert f.memory.peak is not None
    assert sum(f.memory.peak.by_owner.values()) == f.memory.peak_allocated
    assert f.memory.num_communicators == 1


def test_peaks_do_not_depend_on_the_rank() -> None:
    peaks = []
    for rank in (0, 63):
        with polyrank.forecast("dgx-h100", world_size=RANKS, rank=rank) as f:
            split_mlp()(torch.randn(TOKENS, WIDTH, device="cuda")).sum().backward()
        peaks.append(f.memory.peak_allocated)
    assert all(one == other for one, other in pairwise(peaks))
