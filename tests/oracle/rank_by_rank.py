"""The reference of every engine test: the same program, run for each rank alone with plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polyrank
import torch
from polyrank import LocalTensor
from torch import Tensor
from torch.utils import _pytree as pytree

_MAX_SHOWN = 200  # characters of a tensor in a message


def each_rank(
    program: Callable[[int], Any],
    ranks: int | Iterable[int],
    *,
    seeds: Mapping[int, int] | None = None,
) -> dict[int, Any]:
    """Run `program(rank)` for each rank, as a process that holds this rank alone would.

    Each rank starts with the random state that the caller has, or with its own of `seeds`; the
    caller's state is put back.
    """
    results = {}
    with polyrank.maybe_disable_local_tensor_mode(), torch.random.fork_rng(devices=()):
        state = torch.random.get_rng_state()
        for rank in range(ranks) if isinstance(ranks, int) else ranks:
            if seeds is None:
                torch.random.set_rng_state(state)
            else:
                torch.random.default_generator.manual_seed(seeds[rank])
            results[rank] = program(rank)
    return results


def local(
    tensor_of: Callable[[int], Tensor] | Mapping[int, Tensor],
    ranks: int | Iterable[int] = 4,
    *,
    requires_grad: bool = False,
) -> LocalTensor:
    """The LocalTensor that holds `tensor_of(rank)` on each rank, made outside any mode."""
    if callable(tensor_of):
        tensor_of = each_rank(tensor_of, ranks)
    return LocalTensor(dict(tensor_of), requires_grad=requires_grad)


def same_on(ranks: int | Iterable[int], tensor: Tensor, *, requires_grad: bool = False) -> Tensor:
    """The LocalTensor that holds `tensor` on all `ranks`, as one cohort."""
    return local(
        dict.fromkeys(range(ranks) if isinstance(ranks, int) else ranks, tensor),
        requires_grad=requires_grad,
    )


def local_int(values: Mapping[int, int] | Iterable[int]) -> torch.SymInt:
    """The integer that is `values[rank]` on each rank."""
    if not isinstance(values, Mapping):
        values = dict(enumerate(values))
    return torch.SymInt(polyrank.LocalIntNode(dict(values)))


def value_on_rank(value: Any, rank: int) -> Any:
    """What `value`, a result of the engine, is on one rank."""
    if isinstance(value, LocalTensor):
        return value.on_rank(rank)
    if isinstance(value, torch.SymInt):
        ints = getattr(value.node, "_local_ints", None)
        return ints[rank] if ints is not None else int(value)
    if isinstance(value, torch.SymBool):
        return bool(value)
    return value


def ranks_in_cohorts(tensor: Tensor) -> list[list[int]]:
    """The ranks of each cohort of a LocalTensor, as sorted lists."""
    assert isinstance(tensor, LocalTensor), type(tensor)
    return [sorted(cohort.ranks) for cohort in tensor.cohorts()]


def num_cohorts(tensor: Tensor) -> int:
    """How many tensors a LocalTensor holds for all its ranks."""
    return len(ranks_in_cohorts(tensor))


def assert_each_rank(actual: Any, expected: Mapping[int, Any]) -> None:
    """Assert that `actual`, a tree of results of the engine, is `expected[rank]` on each rank.

    Tensors must agree bit for bit, in dtype, shape, strides and device; the sizes and strides that
    a LocalTensor itself reports must be those of the rank's tensor as well.
    """
    difference = difference_on_ranks(actual, expected)
    assert difference is None, difference


def difference_on_ranks(
    actual: Any, expected: Mapping[int, Any], *, values: bool = True
) -> str | None:
    """The first difference between `actual` and `expected`, in words; None if there is none.

    Without `values`, tensors need not hold the same (for operators that return fresh memory).
    """
    leaves, spec = pytree.tree_flatten(actual)
    # What `chunk` and its like return in a mode is a kind of tuple.
    structure = str(spec).replace("TreeSpec(Pieces", "TreeSpec(tuple")
    for rank, tree in expected.items():
        rank_leaves, rank_spec = pytree.tree_flatten(tree)
        if structure != str(rank_spec):
            return f"rank {rank}: expected a result of structure {rank_spec}, got {spec}"
        for index, (leaf, rank_leaf) in enumerate(zip(leaves, rank_leaves, strict=True)):
            difference = _leaf_difference(leaf, rank_leaf, rank, values)
            if difference is not None:
                return f"rank {rank}, leaf {index}: {difference}"
    return None


def _leaf_difference(actual: Any, expected: Any, rank: int, values: bool) -> str | None:
    on_rank = value_on_rank(actual, rank)
    if not isinstance(expected, Tensor):
        same = on_rank is expected or on_rank == expected or str(on_rank) == str(expected) == "nan"
        if not same or isinstance(on_rank, bool) != isinstance(expected, bool):
            return f"expected {expected!r}, got {on_rank!r}"
        return None
    if not isinstance(on_rank, Tensor):
        return f"expected a tensor, got {type(actual)}"
    if isinstance(actual, LocalTensor):
        wrapper = _wrapper_difference(actual, expected, rank)
        if wrapper is not None:
            return wrapper
    return tensor_difference(on_rank, expected, values=values)


def _wrapper_difference(actual: LocalTensor, expected: Tensor, rank: int) -> str | None:
    if actual.requires_grad != expected.requires_grad:
        return f"expected requires_grad {expected.requires_grad}, got {actual.requires_grad}"
    if actual.layout != expected.layout or expected.layout != torch.strided:
        return None
    sizes = [value_on_rank(size, rank) for size in actual.shape]
    if sizes != list(expected.shape):
        return f"the LocalTensor says shape {sizes}, expected {list(expected.shape)}"
    strides = [value_on_rank(stride, rank) for stride in actual.stride()]
    if strides != list(expected.stride()):
        return f"the LocalTensor says strides {strides}, expected {list(expected.stride())}"
    return None


def tensor_difference(actual: Tensor, expected: Tensor, *, values: bool = True) -> str | None:
    """How two plain tensors differ, in words; None if they are the same bit for bit."""
    for name in ("dtype", "layout", "shape", "device"):
        if getattr(actual, name) != getattr(expected, name):
            return f"expected {name} {getattr(expected, name)}, got {getattr(actual, name)}"
    if expected.layout != torch.strided:
        return tensor_difference(actual.to_dense(), expected.to_dense(), values=values)
    if actual.stride() != expected.stride():
        return f"expected strides {expected.stride()}, got {actual.stride()}"
    if (actual.is_conj(), actual.is_neg()) != (expected.is_conj(), expected.is_neg()):
        return "the conjugate or negative bits differ"
    if not values or expected.is_meta or _same_bytes(actual, expected):
        return None
    return f"expected values {_shorten(expected)}, got {_shorten(actual)}"


def _shorten(tensor: Tensor) -> str:
    text = str(tensor)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    return torch.equal(_bytes_of(a), _bytes_of(b))


def _bytes_of(tensor: Tensor) -> Tensor:
    plain = tensor.detach().resolve_conj().resolve_neg()
    return plain.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8)
