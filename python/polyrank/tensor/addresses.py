"""`data_ptr()` in lockstep: which memory a LocalTensor has, without a number for it."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from polyrank import _C
from polyrank.errors import UnsupportedOpError

__all__ = ["TensorAddress", "address_of", "storage_address_of"]

_REFUSAL = (
    "a LocalTensor has no single data pointer: it stands for one tensor per rank. Take one rank's "
    "tensor with `t.on_rank(rank)`, or `t.reconcile()` where all agree"
)


def _refuse(*_: Any) -> NoReturn:
    raise UnsupportedOpError(_REFUSAL)


class TensorAddress:
    """Where the memory of a LocalTensor begins, on each rank in memory of its own.

    Programs tell tensors apart by it: two are equal where, on every rank, a process would have the same pointer
    twice. It stays as it is when ranks part. Nothing else is known of it, so that it is no number, and no code
    can take it for memory.
    """

    __slots__ = ("_offset", "_storage")

    def __init__(self, storage: int, offset: int) -> None:
        self._storage = storage
        self._offset = offset

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorAddress):
            return (self._storage, self._offset) == (other._storage, other._offset)
        # Of plain tensors: their memory is no LocalTensor's of several ranks.
        return False if isinstance(other, int) else NotImplemented

    def __hash__(self) -> int:
        return hash((TensorAddress, self._storage, self._offset))

    def __gt__(self, other: object) -> bool:
        return other == 0 or _refuse()

    def __repr__(self) -> str:
        return f"<address of a LocalTensor, {self._storage:#x} + {self._offset}>"

    __index__ = __int__ = __lt__ = __le__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mod__ = __and__ = __floordiv__ = _refuse


def storage_address_of(storage: torch.UntypedStorage, offset: int = 0) -> Any:
    """The address of a LocalTensor's storage; a number where all ranks have a plain tensor's memory.

    Raises:
        UnsupportedOpError: memory of some ranks is seen elsewhere, too, so that ranks may disagree about what is
            the same memory; or there are no bytes, or more on some ranks than on others and none there.
    """
    number = _C.plain_address(storage)
    if number is not None:
        return number + offset if number else 0
    return TensorAddress(storage._cdata, offset) if _C.has_memory_alone(storage) else _refuse()


def address_of(tensor: torch.Tensor) -> Any:
    """`tensor.data_ptr()`, of a LocalTensor."""
    if tensor.layout is not torch.strided:
        _refuse()
    offset, numel = tensor.storage_offset(), tensor.numel()
    if not isinstance(offset, int) or not isinstance(numel, int):
        _refuse()
    if numel == 0 or tensor.is_meta:
        return 0
    return storage_address_of(tensor.untyped_storage(), offset * tensor.element_size())
