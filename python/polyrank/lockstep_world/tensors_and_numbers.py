"""Functions that turn numbers which differ between ranks into tensors, and tensors into pieces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from polyrank.errors import DivergenceError
from polyrank.lockstep_world.foreign_memory import on_array, on_file
from polyrank.numbers.rank_dependent_index import get_item, set_item
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number
from polyrank.numbers.rank_dependent_pieces import chunk, tensor_split, unbind
from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.rank_functions import run_by_cohort

__all__ = ["ROWS"]


def _make_tensor(
    original: Callable[..., Any], *args: Any, requires_grad: bool = False, **kwargs: Any
) -> torch.Tensor:
    """As `torch.tensor`, which needs Python numbers: by cohort where the data differ by rank."""
    try:
        result = original(*args, **kwargs)
    except (
        DivergenceError,
        RuntimeError,
        TypeError,
    ):  # it differs, or is a SymBool that it does not know
        mode = enabled_local_tensor_mode()
        if mode is None or not any(map(_may_differ, tree_leaves(args))):
            raise
        result = run_by_cohort(original, mode, args, kwargs)
    return result.requires_grad_() if requires_grad else result  # type: ignore[no-any-return]


def _as_tensor(original: Callable[..., Any], data: Any, *args: Any, **kwargs: Any) -> Any:
    """As `torch.as_tensor`, on the memory of an array where it is one."""
    return on_array(functools.partial(_make_tensor, original), data, *args, **kwargs)


def _may_differ(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or is_rank_dependent_number(value)


_ON_MEMORY = "is on memory that others see, in which ranks can't part"
_TO_TENSOR = "needs Python's numbers"
_INDEX = "takes symbolic ints of an index for plain ones"
_PIECES = "a rank-dependent int can't choose from a tuple"

ROWS = (
    Row("torch", "tensor", with_original(_make_tensor), _TO_TENSOR),
    Row("torch", "as_tensor", with_original(_as_tensor), _TO_TENSOR),
    Row("torch", "asarray", with_original(_as_tensor), _TO_TENSOR),
    Row("torch", "from_numpy", with_original(on_array), _ON_MEMORY),
    Row("torch", "from_file", with_original(on_file), _ON_MEMORY),
    Row("torch:Tensor", "new_tensor", with_original(_make_tensor), _TO_TENSOR),
    Row("torch:Tensor", "__getitem__", with_original(get_item), _INDEX),
    Row("torch:Tensor", "__setitem__", with_original(set_item), _INDEX),
    *(
        Row(owner, name, with_original(take_apart), _PIECES)
        for owner in ("torch", "torch:Tensor")
        for name, take_apart in (
            ("chunk", chunk),
            ("split", chunk),
            ("split_with_sizes", tensor_split),
            ("tensor_split", tensor_split),
            ("unbind", unbind),
        )
    ),
)
