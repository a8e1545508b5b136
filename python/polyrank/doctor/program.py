"""The program that `polyrank doctor` runs in each world: collectives whose results are known exactly.

All numbers are small integers, which floats hold exactly, in any order of summation.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import polyrank

__all__ = ["main"]

_NUM_ELEMENTS = 24  # divides among 1, 2, 3, 4, 6, 8 and 12 ranks


def _brought_by(rank: int) -> torch.Tensor:
    """What a rank brings to each collective. In lockstep the rank, and so the tensor, differs by rank."""
    return torch.arange(float(_NUM_ELEMENTS)) + 100 * rank


def _check(name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    if not torch.equal(found, expected):
        raise AssertionError(f"{name} gave {found}, and {expected} is right")


def main() -> None:
    """Run it.

    Raises:
        AssertionError: a result is wrong.
    """
    dist.init_process_group("gloo")
    rank: Any = dist.get_rank()
    size = dist.get_world_size()
    # In the fake world others bring what this rank does.
    is_alone = polyrank.current_world().name == "fake"  # type: ignore[union-attr]
    brought = [_brought_by(rank if is_alone else other) for other in range(size)]
    own = _brought_by(rank)
    total = torch.stack(brought).sum(0)

    found = own.clone()
    dist.all_reduce(found)
    _check("all_reduce", found, total)

    found = torch.zeros(size * _NUM_ELEMENTS)
    dist.all_gather_into_tensor(found, own)
    _check("all_gather_into_tensor", found, torch.cat(brought))

    found = torch.zeros(_NUM_ELEMENTS // size)
    dist.reduce_scatter_tensor(found, own.clone())
    _check("reduce_scatter_tensor", found, total.view(size, -1)[rank])

    found = torch.zeros(_NUM_ELEMENTS)
    dist.all_to_all_single(found, own)
    pieces = [tensor.view(size, -1)[rank] for tensor in brought]
    _check("all_to_all_single", found, torch.cat(pieces))

    found = own.clone()
    dist.broadcast(found, src=0)
    _check("broadcast", found, brought[0])

    mesh = init_device_mesh("cpu", (size,))
    weight = torch.arange(float(_NUM_ELEMENTS))
    sharded: Any = distribute_tensor(weight, mesh, [Shard(0)]).requires_grad_()
    squared = (sharded * sharded).full_tensor()
    shards = [weight.view(size, -1)[rank if is_alone else part] for part in range(size)]
    _check("DTensor.full_tensor", squared.detach(), torch.cat(shards) ** 2)
    squared.sum().backward()
    # Each rank sums what all hold, and that sum is one: its gradient counts once.
    _check("the gradient of a DTensor", sharded.grad.full_tensor(), 2 * torch.cat(shards))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
