"""Copying and pickling LocalTensors, and numbers that differ between ranks.

A LocalTensor is saved as its storage and its geometry, so that tensors which share memory share it
again afterwards, as with plain tensors. A number is saved as its values by rank.
"""

from __future__ import annotations

import copy
import copyreg
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UnsupportedOpError
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, number_of_ranks
from polyrank.tensor.local_tensor import LocalTensor

Ranks = list[list[int]]


def rebuild_storage(
    ranks: Ranks, storages: list[torch.UntypedStorage | torch.TypedStorage]
) -> _C.LocalStorage:
    """A LocalStorage over one storage for each cohort of ranks."""
    # torch.load gives a typed storage back for an untyped one.
    untyped = [s if isinstance(s, torch.UntypedStorage) else s._untyped_storage for s in storages]
    return _C.make_storage(ranks, untyped)


def rebuild_local_tensor(
    storage: _C.LocalStorage,
    dtype: torch.dtype,
    ranks: Ranks,
    geometries: list[tuple[list[int], list[int], int]],
    requires_grad: bool,
    attributes: dict[str, Any],
) -> LocalTensor:
    """A LocalTensor on `storage`, with one geometry for each set of ranks."""
    result: LocalTensor = _C.tensor_on_storage(storage, dtype, ranks, geometries)
    result.requires_grad_(requires_grad)
    result.__dict__.update(attributes)
    return result


def rebuild_sparse_tensor(
    indices: LocalTensor,
    values: LocalTensor,
    size: torch.Size,
    is_coalesced: bool,
    requires_grad: bool,
    attributes: dict[str, Any],
) -> LocalTensor:
    """A LocalTensor of sparse tensors of these indices and values."""
    result: Any = torch.sparse_coo_tensor(indices, values, size)._coalesced_(is_coalesced)
    result.requires_grad_(requires_grad)
    result.__dict__.update(attributes)
    return result  # type: ignore[no-any-return]


def _reduce_sparse(tensor: Any) -> tuple[Any, ...]:
    plain = tensor.detach()
    arguments = (
        plain._indices(),
        plain._values(),
        tensor.size(),
        tensor.is_coalesced(),
        tensor.requires_grad,
        tensor.__dict__,
    )
    return rebuild_sparse_tensor, arguments


def reduce_local_tensor(tensor: LocalTensor) -> tuple[Any, ...]:
    """What pickle needs to make `tensor` again."""
    _refuse_without_bytes(tensor)
    if tensor.is_conj() or tensor.is_neg():  # the bytes mean something else: write what they mean
        plain: Any = tensor.detach().resolve_conj().resolve_neg()
        return reduce_local_tensor(plain.requires_grad_(tensor.requires_grad))
    if not tensor.is_leaf:
        raise UnsupportedOpError(
            "a LocalTensor that autograd made can't be pickled; detach it first, as a plain tensor"
        )
    if tensor.layout != torch.strided:
        return _reduce_sparse(tensor)
    ranks, geometries = _C.geometry_of(tensor)
    arguments = (
        _C.storage_of(tensor),
        tensor.dtype,
        ranks,
        geometries,
        tensor.requires_grad,
        tensor.__dict__,
    )
    return rebuild_local_tensor, arguments


def deepcopy_local_tensor(tensor: LocalTensor, memo: dict[int, Any]) -> LocalTensor:
    """A copy with memory of its own; tensors copied together share memory as before."""
    if id(tensor) in memo:
        known: LocalTensor = memo[id(tensor)]
        return known
    if not tensor.is_leaf:
        raise RuntimeError(
            "Only LocalTensors created explicitly by the user (graph leaves) support deepcopy; "
            "detach it first"
        )
    _refuse_without_bytes(tensor)
    result: Any
    if tensor.layout == torch.strided:
        _, arguments = reduce_local_tensor(tensor)
        storage = copy.deepcopy(arguments[0], memo)
        _, dtype, ranks, geometries, requires_grad, _ = arguments
        result = rebuild_local_tensor(storage, dtype, ranks, geometries, requires_grad, {})
    else:
        result = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    result.__dict__.update(copy.deepcopy(tensor.__dict__, memo))
    memo[id(tensor)] = result
    if tensor.grad is not None:
        result.grad = copy.deepcopy(tensor.grad, memo)
    return result  # type: ignore[no-any-return]


def _refuse_without_bytes(tensor: LocalTensor) -> None:
    if tensor.device.type == "meta" or type(tensor.cohorts()[0].tensor) is not torch.Tensor:
        raise UnsupportedOpError(
            "a LocalTensor of meta or fake tensors holds no values to copy; make it anew"
        )


def _reduce_storage(storage: _C.LocalStorage) -> tuple[Any, ...]:
    ranks, untyped = storage._state()
    # torch.save keeps the sharing of typed storages, torch.load's safe unpickler knows them.
    typed = [
        torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
            wrap_storage=s, dtype=torch.uint8, _internal=True
        )
        for s in untyped
    ]
    return rebuild_storage, (ranks, typed)


def _reduce_number(number: Any) -> str | tuple[Any, ...]:
    if not is_rank_dependent_number(number):
        return object.__reduce_ex__(number, 2)  # of a symbolic shape
    return number_of_ranks, (number.node._local_ints,)


copyreg.pickle(_C.LocalStorage, _reduce_storage)
for _kind in (torch.SymInt, torch.SymFloat, torch.SymBool):
    copyreg.pickle(_kind, _reduce_number)
torch.serialization.add_safe_globals(
    [rebuild_storage, rebuild_local_tensor, rebuild_sparse_tensor, number_of_ranks]
)
