"""Functions of PyTorch over collectives that decide by their own rank, for all ranks at once.

Code inside torch gets rank 0's answer from `get_rank`, and these would do for all ranks what rank 0's
process does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.distributed import distributed_c10d
from torch.distributed.nn import functional as nn

from polyrank.lockstep_world.groups.process_groups import group_and_root, group_rank_of_ranks
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.numbers.rank_dependent_numbers import rank_dependent_int
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS"]

c10d: Any = distributed_c10d


def _group_ranks(group: dist.ProcessGroup) -> dict[int, int]:
    mode: Any = enabled_local_tensor_mode()  # there is one: in_lockstep() asked for it
    return group_rank_of_ranks(group, sorted(mode.ranks))


def _broadcast_backward(ctx: Any, grad_output: torch.Tensor) -> tuple[None, None, torch.Tensor]:
    # The gradient of all ranks' results goes to the source; the others' tensors were not used.
    reduce: Any = nn._Reduce
    total = reduce.apply(ctx.src, dist.ReduceOp.SUM, ctx.group, grad_output)
    group, root = group_and_root(ctx.group, ctx.src, None)
    is_root: Any = rank_dependent_int(
        {rank: int(own == root) for rank, own in _group_ranks(group).items()}
    )
    return None, None, torch.where(torch.full((), is_root, dtype=torch.bool), total, 0)


def _gather_forward(
    ctx: Any, dst: int, group: dist.ProcessGroup | None, tensor: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    ctx.dst, ctx.group = dst, group
    gathered = [torch.zeros_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.gather(tensor.contiguous(), gathered, dst, group=group)
    return tuple(gathered)


def _scatter_forward(
    ctx: Any, src: int, group: dist.ProcessGroup | None, *tensors: torch.Tensor
) -> torch.Tensor:
    ctx.src, ctx.group = src, group
    output = torch.zeros_like(tensors[0])
    dist.scatter(output, list(tensors), src, group=group)
    return output


def _permute_tensor(
    self: torch.Tensor, src_dst: list[int], group: Any, tag: str = ""
) -> torch.Tensor:
    expanded: Any = funcol._expand_group(group, tag)
    own_rank = _group_ranks(c10d._find_or_create_pg_by_ranks_and_tag(*expanded))

    def sizes(is_used: Callable[[int, int], bool]) -> list[Any]:
        """The tensor's size for each member with which a rank exchanges it, else 0."""
        return [
            rank_dependent_int({rank: int(is_used(own, other)) for rank, own in own_rank.items()})
            * self.numel()
            for other in range(len(src_dst))
        ]

    sent = sizes(lambda own, other: own >= 0 and src_dst[own] == other)
    received = sizes(lambda own, other: src_dst[other] == own)
    return funcol.all_to_all_single(self, received, sent, group, tag)


_NN = "torch.distributed.nn.functional"
_WHY = "does on each rank what its rank says, which inside torch is 0"

ROWS = (
    Row(f"{_NN}:_Broadcast", "backward", in_lockstep(_broadcast_backward), _WHY),
    Row(f"{_NN}:_Gather", "forward", in_lockstep(_gather_forward), _WHY),
    Row(f"{_NN}:_Scatter", "forward", in_lockstep(_scatter_forward), _WHY),
    Row(
        "torch.distributed._functional_collectives",
        "permute_tensor",
        in_lockstep(_permute_tensor),
        _WHY,
    ),
)
