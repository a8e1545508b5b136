"""DistributedDataParallel on GPUs without bytes, where what its C++ reads back from the GPU is not there.

It compares parameters' numbers and shapes with other ranks': those that don't run are copies of the one that does. After
the first step it makes buckets anew, in the order in which gradients came, and takes rank 0's: here they are such from the
beginning, in the reverse order of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

# Of the reducer's arguments.
_PARAMETERS, _BUCKETS, _LIMITS, _IS_SPARSE, _CAP, _FIRST_CAP = 0, 1, 2, 4, 5, 9


def _verify_params(original: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Nothing to compare."""


def _make_reducer(original: Callable[..., None], reducer: Any, *args: Any, **kwargs: Any) -> None:
    """All in one bucket, as DistributedDataParallel has it before it knows an order, is cut by size."""
    if len(args) > _FIRST_CAP and len(args[_BUCKETS]) == 1:
        given = list(args)
        indices = list(reversed(range(len(given[_PARAMETERS]))))
        given[_BUCKETS], given[_LIMITS] = dist._compute_bucket_assignment_by_size(  # type: ignore[attr-defined]
            [given[_PARAMETERS][index] for index in indices],
            [given[_FIRST_CAP], given[_CAP]],
            [given[_IS_SPARSE][index] for index in indices],
            indices,
        )
        args = tuple(given)
    original(reducer, *args, **kwargs)


def _rebuild_buckets(original: Callable[..., bool], reducer: Any) -> bool:
    """They are what they would become."""
    return False


_REDUCER = "torch._C._distributed_c10d:Reducer"
_WHY = "reads from the GPU what other ranks told"

ROWS = (
    Row(
        "torch.distributed", "_verify_params_across_processes", with_original(_verify_params), _WHY
    ),
    Row(_REDUCER, "__init__", with_original(_make_reducer), _WHY),
    Row(_REDUCER, "_rebuild_buckets", with_original(_rebuild_buckets), _WHY),
)
