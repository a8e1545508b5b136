"""`torch.equal` of DTensors, whose ranks have one answer though their shards have several.

DTensor asks each rank's shards for a bool and reduces the bools afterwards; in lockstep there is no
single bool to reduce. Here the shards give a tensor, and that is reduced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate

from polyrank.replacing.row import Row

__all__ = ["ROWS"]


def _equal(op_call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether both hold the same, by DTensor's rules: also where placements differ.

    Raises:
        RuntimeError: one is no DTensor, or they are on different meshes, as DTensor says.
    """
    first, second = args
    if not isinstance(first, DTensor) or not isinstance(second, DTensor):
        raise RuntimeError(  # noqa: TRY004 - as DTensor
            f"{op_call} got mixed torch.Tensor and DTensor; make a DTensor of all tensors first"
        )
    if first.device_mesh != second.device_mesh:
        raise RuntimeError(
            f"{op_call} got DTensors on different meshes: {first.device_mesh} and "
            f"{second.device_mesh}"
        )
    if first.shape != second.shape:
        return False
    placements = [Replicate() if one.is_partial() else one for one in first.placements]
    with torch.no_grad():
        shards = [one.redistribute(placements=placements).to_local() for one in (first, second)]
        answer = torch.eq(*shards).all().to(torch.int64)
        dist.all_reduce(answer, op=dist.ReduceOp.MIN)
    return bool(answer.item())


def _with_equal(handlers: dict[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    return {**handlers, torch.ops.aten.equal.default: _equal}


ROWS = (
    Row(
        "torch.distributed.tensor:DTensor._op_dispatcher",
        "_custom_op_handlers",
        _with_equal,
        "equal: asks each rank's shards for one bool",
    ),
)
