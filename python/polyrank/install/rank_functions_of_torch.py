"""Functions of PyTorch's simulator that run something for each rank."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number
from polyrank.tensor.active_modes import local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode
from polyrank.tensor.rank_functions import run_by_cohort


def for_each_rank_run_func(
    func: Callable[..., Any],
    ranks: frozenset[int],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    alias: bool = True,
) -> Any:
    """Call `func` once per cohort of its arguments and combine what it returns.

    Functions of DTensor that PyTorch decorated before `install()` arrive here.

    Source: `torch.distributed._local_tensor._for_each_rank_run_func`.
    """
    if isinstance(func, torch._ops.OpOverload):
        return _C.run_in_engine(func, *args, **kwargs)
    mode = local_tensor_mode()
    if mode is None or mode.ranks != ranks:
        mode = LocalTensorMode(ranks)
    if func.__module__.startswith("torch.distributed.tensor.") and _is_alike(args, kwargs):
        # DTensor's functions read shapes and rank numbers; where these agree, one run serves all.
        with contextlib.suppress(DivergenceError), mode.enable():
            return func(*args, **kwargs)
    if func.__module__.startswith("torch.distributed.tensor.") and not kwargs:
        return _results.get(func, mode, tuple(args))
    return run_by_cohort(func, mode, args, kwargs)


class _ResultsOfInts:
    """What DTensor's functions gave for ints, most of which are mesh coordinates.

    DTensor asks for shard sizes at each operator. They depend on ints alone, but differ between as
    many ranks as there are shards.
    """

    _MOST_KEPT = 4096

    def __init__(self) -> None:
        # The arguments are kept too: a key names rank-dependent ints by identity.
        self._kept: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def get(self, func: Callable[..., Any], mode: LocalTensorMode, args: tuple[Any, ...]) -> Any:
        if not all(type(value) in (int, torch.SymInt) for value in args):
            return run_by_cohort(func, mode, args, {})
        named = (value if isinstance(value, int) else (id(value),) for value in args)
        key = (func, mode.ranks, *named)
        if key not in self._kept:
            if len(self._kept) >= self._MOST_KEPT:
                self._kept.clear()
            self._kept[key] = args, run_by_cohort(func, mode, args, {})
        return self._kept[key][1]


_results = _ResultsOfInts()


def _is_alike(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether ranks differ in nothing but what their tensors hold."""
    return not any(
        is_rank_dependent_number(leaf)
        or (isinstance(leaf, LocalTensor) and not _C.has_uniform_geometry(leaf))
        for leaf in pytree.tree_leaves((args, kwargs))
    )
