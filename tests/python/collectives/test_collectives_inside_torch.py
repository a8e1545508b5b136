"""Differentiable collectives and permute_tensor, whose code in PyTorch decides by its own rank.

The expected values are those of rank r in a process of its own: it holds [r, r] and its loss is the
sum of its result, times r + 1.
"""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.distributed.nn import functional as nn

pytestmark = [
    pytest.mark.usefixtures("world4"),
    pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning"),
]


def gradients(run: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
    t = polyrank.rank_map(lambda rank: torch.full((2,), float(rank))).requires_grad_()
    (run(t) * (dist.get_rank() + 1)).sum().backward()
    assert t.grad is not None
    return [t.grad.on_rank(rank)[0].item() for rank in range(4)]


def test_gradients_of_a_broadcast_go_to_the_source() -> None:
    assert gradients(lambda t: nn.broadcast(t, 1, dist.group.WORLD)) == [0, 10, 0, 0]
    pairs, _ = dist.new_subgroups_by_enumeration([[0, 1], [2, 3]])
    source = dist.get_global_rank(pairs, 1)
    assert gradients(lambda t: nn.broadcast(t, source, pairs)) == [0, 3, 0, 7]


def test_a_gather_and_its_gradient() -> None:
    def run(t: torch.Tensor) -> torch.Tensor:
        gathered = nn.gather(t, 2, dist.group.WORLD)
        assert [gathered[3].on_rank(rank)[0].item() for rank in range(4)] == [0, 0, 3, 0]
        return sum((i + 1) * part for i, part in enumerate(gathered))  # type: ignore[return-value]

    assert gradients(run) == [3, 6, 9, 12]


def test_a_scatter_and_its_gradient() -> None:
    def run(t: torch.Tensor) -> torch.Tensor:
        piece = nn.scatter([t * i for i in range(4)], 2, dist.group.WORLD)
        assert [piece.on_rank(rank)[0].item() for rank in range(4)] == [0, 2, 4, 6]
        return piece

    # Rank 2 gets i * (i + 1) from rank i.
    assert gradients(run) == [0, 0, 20, 0]


def test_permute_tensor_sends_each_tensor_to_its_place() -> None:
    t = polyrank.rank_map(lambda rank: torch.full((2,), float(rank)))
    moved = funcol.permute_tensor(t, [1, 2, 3, 0], dist.group.WORLD)
    assert [(moved + 0).on_rank(rank).tolist() for rank in range(4)] == [
        [3, 3],
        [0, 0],
        [1, 1],
        [2, 2],
    ]
    pairs, _ = dist.new_subgroups_by_enumeration([[0, 1], [2, 3]])
    swapped = funcol.permute_tensor(t, [1, 0], pairs)
    assert [(swapped + 0).on_rank(rank)[0].item() for rank in range(4)] == [1, 0, 3, 2]
