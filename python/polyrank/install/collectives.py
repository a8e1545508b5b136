"""The collectives of `torch.distributed._local_tensor._c10d`, run by our engine.

There each is a function with the arguments of an operator; here the operator itself runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed._local_tensor import _c10d
from torch.distributed.distributed_c10d import ProcessGroup

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.tensor.local_tensor import LocalTensor

# Name of the function -> operator with the same arguments.
_OPERATORS: dict[str, str] = {
    "_local_all_gather_": "c10d::allgather_",
    "_local_all_reduce_": "c10d::allreduce_",
    "_local_allgather_base_": "c10d::_allgather_base_",
    "_local_allgather_into_tensor_coalesced_": "c10d::allgather_into_tensor_coalesced_",
    "_local_allreduce_coalesced_": "c10d::allreduce_coalesced_",
    "_local_alltoall_": "c10d::alltoall_",
    "_local_alltoall_base_": "c10d::alltoall_base_",
    "_local_barrier": "c10d::barrier",
    "_local_broadcast_": "c10d::broadcast_",
    "_local_functional_all_gather_into_tensor": "_c10d_functional::all_gather_into_tensor",
    "_local_functional_all_to_all_single": "_c10d_functional::all_to_all_single",
    "_local_functional_reduce_scatter_tensor": "_c10d_functional::reduce_scatter_tensor",
    "_local_functional_shard_dim_alltoall": "_dtensor::shard_dim_alltoall",
    "_local_gather_": "c10d::gather_",
    "_local_monitored_barrier_": "c10d::monitored_barrier_",
    "_local_reduce_scatter_base_": "c10d::_reduce_scatter_base_",
    "_local_reduce_scatter_tensor_coalesced_": "c10d::reduce_scatter_tensor_coalesced_",
    "_local_scatter_": "c10d::scatter_",
}


def _named(value: Any) -> Any:
    # The functional operators take a group by name; callers may hold the group.
    return value.group_name if isinstance(value, ProcessGroup) else value


def _make(name: str, operator_name: str) -> Callable[..., Any]:
    namespace, operator = operator_name.split("::")

    @functools.wraps(vars(_c10d)[name])
    def local_collective(*args: Any, **kwargs: Any) -> Any:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        if not any(isinstance(leaf, LocalTensor) for leaf in leaves):
            raise UsageError(f"{name} acts on LocalTensors, and was given none")
        function = getattr(getattr(torch.ops, namespace), operator).default
        return _C.run_in_engine(
            function,
            *(_named(value) for value in args),
            **{key: _named(value) for key, value in kwargs.items()},
        )

    return local_collective


LOCAL_COLLECTIVES: dict[str, Callable[..., Any]] = {
    name: _make(name, operator_name)
    for name, operator_name in _OPERATORS.items()
    if hasattr(_c10d, name)
}
