"""Collectives of tensors that are not contiguous, where gloo gives right values.

What gloo is given in another order in memory comes out right, or wrong without a word, by
collective (cpp/polyrank/exchange/backend_rules.h has the rules): the first are here, the others are
refused (tests/python/test_same_words.py).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from collectives.programs import WORLD_SIZE, Groups, Make, Program, small

SHAPE = (4, 4)


def turned(values: torch.Tensor) -> torch.Tensor:
    """These values, with the dimensions in another order in memory."""
    return torch.empty_like(values).t().contiguous().t().copy_(values)


def with_gaps(values: torch.Tensor) -> torch.Tensor:
    """These values in every other column of a tensor."""
    return torch.zeros(values.shape[0], 2 * values.shape[1])[:, ::2].copy_(values)


def _in_place(make: Make, groups: Groups) -> list[torch.Tensor]:
    tensors = [turned(make(lambda rank: small(rank, *SHAPE))) for _ in range(3)]
    dist.all_reduce(tensors[0])
    dist.broadcast(tensors[1], 2)
    dist.reduce(tensors[2], 1)
    dist.broadcast(tensors[2], 1)  # what the others hold then, gloo does not say
    return tensors


def _coalesced(make: Make, groups: Groups) -> list[torch.Tensor]:
    tensors = [with_gaps(make(lambda rank: small(rank, *SHAPE))) for _ in range(2)]
    dist.all_reduce_coalesced(tensors)
    return tensors


def _gathered(make: Make, groups: Groups) -> list[torch.Tensor]:
    of_rank = make(lambda rank: small(rank, *SHAPE))
    listed = [with_gaps(torch.zeros(SHAPE)) for _ in range(WORLD_SIZE)]
    dist.all_gather(listed, of_rank)
    plain = [torch.zeros(SHAPE) for _ in range(WORLD_SIZE)]
    dist.all_gather(plain, with_gaps(of_rank))
    whole = with_gaps(make(lambda rank: torch.zeros(4 * WORLD_SIZE, 4)))
    dist.all_gather_into_tensor(whole, turned(of_rank))
    return [*listed, *plain, whole]


def _scattered(make: Make, groups: Groups) -> list[torch.Tensor]:
    whole = make(lambda rank: small(rank, 4 * WORLD_SIZE, 4))
    piece, gapped = make(lambda rank: torch.zeros(SHAPE)), with_gaps(torch.zeros(SHAPE))
    dist.reduce_scatter_tensor(piece, turned(whole))
    dist.reduce_scatter_tensor(gapped, whole)
    return [piece, gapped]


def _exchanged(make: Make, groups: Groups) -> list[torch.Tensor]:
    pieces = list(make(lambda rank: small(rank, 4 * WORLD_SIZE, 4)).chunk(WORLD_SIZE))
    outputs = [make(lambda rank: torch.zeros(SHAPE)) for _ in range(WORLD_SIZE)]
    dist.all_to_all(outputs, [with_gaps(piece) for piece in pieces])
    gapped = [with_gaps(torch.zeros(SHAPE)) for _ in range(WORLD_SIZE)]
    dist.all_to_all(gapped, pieces)
    return [*outputs, *gapped]


MEMORY_ORDERS: dict[str, Program] = {
    "in another order of dimensions, in place": _in_place,
    "with gaps, coalesced": _coalesced,
    "with gaps, gathered": _gathered,
    "with gaps, reduced and scattered": _scattered,
    "with gaps, exchanged": _exchanged,
}
