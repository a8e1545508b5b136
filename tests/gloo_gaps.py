"""What gloo's processes do with functions of torch.distributed that gloo does not support."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def gather_single(
    tensor: torch.Tensor,
    gather_tensor: torch.Tensor | None = None,
    dst: int | None = None,
    group: dist.ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """`gather_single` by `gather` into the rows of the tensor."""
    own = group or dist.group.WORLD
    if group_dst is None:
        group_dst = dist.get_group_rank(own, dst or 0)
    rows = None
    if gather_tensor is not None and dist.get_rank(own) == group_dst:
        rows = list(gather_tensor.view(dist.get_world_size(own), *tensor.shape).unbind())
    return dist.gather(tensor, rows, group=own, async_op=async_op, group_dst=group_dst)
