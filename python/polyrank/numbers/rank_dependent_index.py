"""Indexing with ints that differ between ranks: `x[rank]`, `x[rank, 1:] = 0`, `x[index_tensor]`.

PyTorch's own indexing turns each int, and each tensor of one int, into one Python int; only
`select` takes symbolic ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C


def get_item(original: Callable[..., Any], tensor: torch.Tensor, index: Any) -> Any:
    """`tensor[index]`, where `original` is PyTorch's own."""
    return original(*_resolve(tensor, index))


def set_item(original: Callable[..., Any], tensor: torch.Tensor, index: Any, value: Any) -> None:
    """`tensor[index] = value`, where `original` is PyTorch's own."""
    original(*_resolve(tensor, index), value)


def _resolve(tensor: torch.Tensor, index: Any) -> tuple[torch.Tensor, Any]:
    """A tensor and an index without rank-dependent entries that mean `tensor[index]`."""
    entries = index if type(index) is tuple else (index,)
    # Plain indices are most of all, so they are told apart first.
    if not any(isinstance(entry, torch.SymInt | torch.Tensor | slice) for entry in entries):
        return tensor, index
    numbers = tuple(as_number(entry) for entry in entries)
    if any(isinstance(entry, torch.SymInt) for entry in numbers):
        return _select(tensor, numbers)
    return tensor, numbers if type(index) is tuple else numbers[0]


def as_number(entry: Any) -> Any:
    """An entry of an index; a LocalTensor of one int as the number that indexing takes it for."""
    if isinstance(entry, slice):
        return slice(*map(as_number, (entry.start, entry.stop, entry.step)))
    is_int_tensor = (
        isinstance(entry, torch.Tensor)
        and entry.dim() == 0
        and not entry.is_floating_point()
        and not entry.is_complex()
        and entry.dtype != torch.bool
        and _C.is_local_tensor(entry)
    )
    return entry.item() if is_int_tensor else entry


def _select(tensor: torch.Tensor, entries: tuple[Any, ...]) -> tuple[torch.Tensor, tuple[Any, ...]]:
    """Apply the rank-dependent ints of an index; return the result and what is left of the index."""
    taken = [_num_dims_taken(entry) for entry in entries]
    dims: list[int] = []
    dim = 0
    for entry, num_dims in zip(entries, taken, strict=True):
        dims.append(dim)
        dim += tensor.dim() - sum(taken) if entry is Ellipsis else num_dims
    for entry, at_dim in reversed(list(zip(entries, dims, strict=True))):
        if isinstance(entry, torch.SymInt):
            tensor = tensor.select(at_dim, entry)
    return tensor, tuple(entry for entry in entries if not isinstance(entry, torch.SymInt))


def _num_dims_taken(entry: Any) -> int:
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    if isinstance(entry, torch.Tensor) and entry.dtype == torch.bool:
        return entry.dim()
    return 1
