"""Functions over ranks: build, change and take apart LocalTensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

from polyrank import _C
from polyrank.errors import DivergenceError, UsageError
from polyrank.errors_by_rank import ErrorsByRank
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, rank_dependent_int
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode

_P = ParamSpec("_P")
_R = TypeVar("_R")


def rank_map(cb: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """`cb(rank)` on each rank: a LocalTensor in a mode, the own rank's tensor outside of one."""
    mode = enabled_local_tensor_mode()
    return cb(dist.get_rank()) if mode is None else mode.rank_map(cb)


def tensor_map(
    tensor: torch.Tensor, cb: Callable[[int, torch.Tensor], torch.Tensor | None]
) -> torch.Tensor:
    """`cb(rank, its tensor)` on each rank; see `LocalTensorMode.tensor_map`.

    Raises:
        UsageError: in a mode, if `tensor` is no LocalTensor; outside, if `cb` returns None.
    """
    mode = enabled_local_tensor_mode()
    if mode is not None:
        if not isinstance(tensor, LocalTensor):
            raise UsageError(f"expected a LocalTensor, got {type(tensor).__name__}")
        return mode.tensor_map(tensor, cb)
    result = cb(dist.get_rank(), tensor)
    if result is None:
        raise UsageError("the callback returned None for the only rank that there is")
    return result


def reconcile(tensor: torch.Tensor) -> torch.Tensor:
    """The one tensor that all ranks hold; a plain tensor is returned as it is.

    Raises:
        DivergenceError: ranks hold different values.
    """
    return tensor.reconcile() if isinstance(tensor, LocalTensor) else tensor


def reconcile_args(args: Any, kwargs: dict[str, Any] | None = None) -> Any:
    """`(args, kwargs)` with each LocalTensor in them, however deep, replaced by `reconcile()`'s."""
    return pytree.tree_map(reconcile, (args, {} if kwargs is None else kwargs))


def maybe_run_for_local_tensor(func: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function of one rank run for all: in a mode, once per cohort of its arguments.

    The function must not launch collectives, and must not write to its arguments, which it sees
    read-only. Its results are combined: tensors to LocalTensors (an argument that all ranks return
    is that argument; what else shares memory with one is copied), ints to rank-dependent ints;
    anything else must be equal on all ranks.

    Raises:
        DivergenceError: a result that must agree differs between ranks.

    Source: `torch.distributed._local_tensor.maybe_run_for_local_tensor`.
    """

    @functools.wraps(func)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        mode = enabled_local_tensor_mode()
        if mode is None:
            return func(*args, **kwargs)
        return run_by_cohort(func, mode, args, kwargs)  # type: ignore[no-any-return]

    return wrapper


def run_by_cohort(
    func: Callable[..., Any], mode: LocalTensorMode, args: Any, kwargs: dict[str, Any]
) -> Any:
    """Call `func` once per cohort of its arguments and combine what it returns.

    See `maybe_run_for_local_tensor` for what becomes of arguments and results.
    """
    flat, spec = pytree.tree_flatten((args, kwargs))
    cohorts = _C.common_cohorts(flat, _C.RankSet(sorted(mode.ranks)))
    # A number's values by rank are a dict that is made anew each time it is asked for.
    numbers = {
        position: value.node._local_ints
        for position, value in enumerate(flat)
        if is_rank_dependent_number(value)
    }
    results = {}
    errors = ErrorsByRank(getattr(func, "__name__", repr(func)))
    with mode.disable():
        for cohort in cohorts:
            rank = next(iter(cohort))
            own = [
                numbers[position][rank] if position in numbers else _on_rank(value, rank)
                for position, value in enumerate(flat)
            ]
            own_args, own_kwargs = pytree.tree_unflatten(own, spec)
            with errors.of(cohort):
                result = func(*own_args, **own_kwargs)
                results[cohort] = pytree.tree_map(lambda r, held=own: _as_argument(r, held), result)
        errors.rethrow()
        return _combine(results, flat)


def _on_rank(value: Any, rank: int) -> Any:
    return value.on_rank(rank) if isinstance(value, LocalTensor) else value


@dataclass(frozen=True)
class _Argument:
    """A result that is an argument: which one, and what the cohort holds of it."""

    position: int
    tensor: torch.Tensor


def _as_argument(result: Any, held: list[Any]) -> Any:
    """The result, in memory of its own unless it is an argument itself."""
    if not isinstance(result, torch.Tensor):
        return result
    for position, value in enumerate(held):
        if value is result:
            return _Argument(position, result)
    storage = result.untyped_storage()._cdata
    tensors = [value for value in held if isinstance(value, torch.Tensor)]
    shares = any(tensor.untyped_storage()._cdata == storage for tensor in tensors)
    return result.clone() if shares else result


def _combine(results: dict[_C.RankSet, Any], arguments: list[Any]) -> Any:
    flat = {cohort: pytree.tree_flatten(result) for cohort, result in results.items()}
    (first_cohort, (_, spec)), *rest = flat.items()
    for cohort, (_, other) in rest:
        if other != spec:
            raise DivergenceError(
                f"the function returned {spec} on ranks {first_cohort} but {other} on {cohort}"
            )
    columns = zip(*(values for values, _ in flat.values()), strict=True)
    combined = [_combine_values(list(flat), list(c), arguments) for c in columns]
    return pytree.tree_unflatten(combined, spec)


def _combine_values(cohorts: list[_C.RankSet], values: list[Any], arguments: list[Any]) -> Any:
    first_position = values[0].position if isinstance(values[0], _Argument) else -1
    if all(isinstance(v, _Argument) and v.position == first_position for v in values):
        return arguments[first_position]
    values = [value.tensor.clone() if isinstance(value, _Argument) else value for value in values]
    by_rank = [(rank, v) for cohort, v in zip(cohorts, values, strict=True) for rank in cohort]
    first = values[0]
    if isinstance(first, torch.Tensor):
        return LocalTensor(dict(by_rank))
    if isinstance(first, int) and not isinstance(first, bool):
        return rank_dependent_int(dict(by_rank))
    for cohort, value in zip(cohorts, values, strict=True):
        if value != first:
            raise DivergenceError(
                f"the function returned {first!r} on ranks {cohorts[0]} but {value!r} on "
                f"ranks {cohort}; only tensors and ints may differ between ranks"
            )
    return first
