"""Which operations wrote to a storage.

NOTE [Who wrote what]
A storage knows the operations that wrote to it (`History`, an attribute of its Python object, which
lives as long as the storage). So an operand's writers are exact whatever views and names the program
has: the writes to its part of the storage since the last one that covered it, and the operation that
made the view, whose arguments may be a rank's own (`x[rank]`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from polyrank import _C
from polyrank.divergence.content import Content, local_part
from polyrank.divergence.operations import Operation

__all__ = [
    "UNINITIALIZED",
    "History",
    "geometry_key",
    "history_of",
    "mark_parameter",
    "storage_key",
    "writers_of",
]

# Names of operators that give tensors which hold whatever the memory held begin so.
UNINITIALIZED = ("aten::empty", "aten::new_empty")

_ATTRIBUTE = "_polyrank_history"
_ANYWHERE = (0, 2**62)  # where ranks' tensors lie differently


@dataclass(slots=True)
class _Write:
    operation: Operation
    span: tuple[int, int]  # bytes of the storage
    covers: bool  # all bytes of the span


@dataclass(slots=True)
class History:
    """What happened to one storage."""

    writes: list[_Write] = field(default_factory=list)
    views: dict[tuple[Any, ...], Operation] = field(default_factory=dict)
    is_uninitialized: bool = False
    contents: dict[tuple[Any, ...], Content | None] = field(default_factory=dict)
    is_parameter: bool = False  # of a module

    def note_write(self, operation: Operation, tensor: torch.Tensor) -> None:
        """The operation wrote what the tensor shows."""
        span = _span(tensor)
        covers = span != _ANYWHERE and bool(
            span[1] - span[0] <= tensor.numel() * tensor.element_size()
        )
        # What an operation leaves of an operand is an operand of its own, so its writers go with it.
        if covers:
            self.writes = [write for write in self.writes if not _holds(span, write.span)]
        self.writes.append(_Write(operation, span, covers))
        self.contents.clear()
        self.is_uninitialized = False

    def writers(self, tensor: torch.Tensor) -> tuple[Operation, ...]:
        """Those whose results the tensor shows."""
        view = self.views.get(geometry_key(tensor))
        low, high = _span(tensor)
        found = []
        for write in reversed(self.writes):
            if view is not None and write.operation.number < view.number:
                break
            if write.span[0] < high and low < write.span[1]:
                found.append(write.operation)
                if write.covers and _holds(write.span, (low, high)):
                    break
        if view is not None:
            found.append(view)
        return tuple(found)


def _holds(outer: tuple[int, int], inner: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def geometry_key(tensor: torch.Tensor) -> tuple[Any, ...]:
    if _C.is_local_tensor(tensor) and not _C.has_uniform_geometry(tensor):
        return (str(tensor.dtype), str(_C.geometry_of(tensor)))
    return (tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    if _C.is_local_tensor(tensor) and not _C.has_uniform_geometry(tensor):
        return _ANYWHERE
    if tensor.numel() == 0:
        return (0, 0)
    size = tensor.element_size()
    low = int(tensor.storage_offset())
    reach = sum(
        (length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return (low * size, (low + int(reach) + 1) * size)


def history_of(tensor: torch.Tensor) -> History | None:
    """Of the tensor's storage; None: it has none that could be asked."""
    try:
        storage = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None
    history: History | None = getattr(storage, _ATTRIBUTE, None)
    if history is None:
        history = History()
        setattr(storage, _ATTRIBUTE, history)
    return history


def storage_key(tensor: torch.Tensor | None) -> int | None:
    """What says that tensors show the same storage, as long as it lives; None: there is none."""
    if tensor is None:
        return None
    try:
        return int(local_part(tensor).untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return None


def writers_of(tensor: torch.Tensor) -> tuple[Operation, ...]:
    """The recorded operations that wrote what the tensor holds."""
    history = history_of(local_part(tensor))
    return () if history is None else history.writers(local_part(tensor))


def mark_parameter(tensor: torch.Tensor) -> None:
    """From now on operands that show the tensor's storage are known as a module's parameter."""
    history = history_of(local_part(tensor))
    if history is not None:
        history.is_parameter = True
