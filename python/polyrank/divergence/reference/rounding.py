"""What rounding may do: the reference once more, each operator computed in another way.

A dispatch mode computes an operator on the same inputs in float64, or with its sums taken in pieces, as
ranks would take them. What comes out is rounded to the operator's own dtype. How far the values of such
a run are from the reference's is what rounding does to them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from polyrank.tensor.local_tensor import is_foreign_subclass

__all__ = ["in_double", "in_pieces"]

_LOW = (torch.float32, torch.bfloat16, torch.float16)
aten = torch.ops.aten

# Computes an operator on these arguments in another way; None: there is none.
_Way = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _Otherwise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes operators in another way where there is one."""

    def __init__(self, way: _Way) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.way = way

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if any(is_foreign_subclass(kind) for kind in types):
            return NotImplemented
        result = self.way(func, args, kwargs)
        return func(*args, **kwargs) if result is None else result


def in_double() -> AbstractContextManager[object]:
    """A block in which operators are computed in float64, and what they give is rounded."""
    return _Otherwise(_computed_in_double)


def in_pieces(num_pieces: int) -> AbstractContextManager[object]:
    """A block in which sums are taken in so many pieces, one after the other."""
    return _Otherwise(partial(_summed_in_pieces, num_pieces))


def _is_low(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in _LOW


def _computed_in_double(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _is_function(func) or kwargs.get("dtype") is not None:
        return None
    low = next((a.dtype for a in tree_leaves((args, kwargs)) if _is_low(a)), None)
    if low is None:
        return None

    def widened(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.double() if tensor.dtype in _LOW else tensor

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(low) if tensor.dtype == torch.float64 else tensor

    wide = tree_map_only(torch.Tensor, widened, (args, kwargs))
    try:
        result = func(*wide[0], **wide[1])
    except RuntimeError:  # no such kernel
        return None
    return tree_map_only(torch.Tensor, rounded, result)


@functools.cache
def _is_function(func: Any) -> bool:
    """Whether it computes new tensors from its arguments, the same each time."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return False
    schema = func._schema
    writes = any(argument.alias_info is not None for argument in schema.arguments)
    return not writes and torch.Tag.nondeterministic_seeded not in func.tags


def _summed_in_pieces(
    num_pieces: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    in_pieces = _SUMS.get(func)
    if in_pieces is None or kwargs or not all(_is_low(a) for a in args if _is_tensor(a)):
        return None
    return in_pieces(num_pieces, *args)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _product(num_pieces: int, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    pieces = zip(a.chunk(num_pieces, -1), b.chunk(num_pieces, -2), strict=True)
    return _total([torch.matmul(x, y) for x, y in pieces])


def _added_product(
    num_pieces: int, bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    return _product(num_pieces, a, b) + bias


def _sum(num_pieces: int, a: torch.Tensor, *_: Any) -> torch.Tensor:
    return _total([piece.sum() for piece in a.reshape(-1).chunk(num_pieces)])


def _mean(num_pieces: int, a: torch.Tensor) -> torch.Tensor:
    return _sum(num_pieces, a) / a.numel()


def _sum_of_dims(
    num_pieces: int, a: torch.Tensor, dims: list[int] | None = None, keepdim: bool = False
) -> torch.Tensor:
    if not dims:
        return _sum(num_pieces, a)
    return _total([piece.sum(dims, keepdim) for piece in a.chunk(num_pieces, dims[0])])


def _total(pieces: list[torch.Tensor]) -> torch.Tensor:
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return total


_SUMS: dict[Any, Callable[..., torch.Tensor]] = {
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _added_product,
    aten.sum.default: _sum,
    aten.mean.default: _mean,
    aten.sum.dim_IntList: _sum_of_dims,
}
