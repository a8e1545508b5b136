"""LocalTensorMode: the program runs for a set of ranks in lockstep."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch
from torch._compile import _disable_dynamo
from torch._ops import HigherOrderOperator
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

import polyrank.tensor.pickling  # noqa: F401 - tells pickle how, before it is asked
from polyrank import _C
from polyrank.errors import DivergenceError, UnsupportedOpError, UsageError
from polyrank.numbers.bare_errors import explained
from polyrank.python_support import require_tried_python
from polyrank.rank_text.asked_compares import keep_comparisons_asked
from polyrank.rank_text.names import watch_names
from polyrank.rank_text.taken_for_one import prepare_guards
from polyrank.replacing.layers import LOCKSTEP_MESHES, LOCKSTEP_MODE, LOCKSTEP_SEEDS
from polyrank.tensor.active_modes import active_modes
from polyrank.tensor.local_tensor import LocalTensor, is_foreign_subclass
from polyrank.tensor.rank_states import RankState, RankStates
from polyrank.tensor.unheard_errors import UnheardErrors
from polyrank.world_size import check_world_size

_REPLACEMENTS = (LOCKSTEP_MESHES, LOCKSTEP_SEEDS, LOCKSTEP_MODE)


def checked_ranks(ranks: int | frozenset[int]) -> frozenset[int]:
    """The ranks that a world size or a set of global ranks stands for.

    Raises:
        UsageError: no rank, a negative one, or more than a world can have.
    """
    if isinstance(ranks, int):
        check_world_size(ranks)
        return frozenset(range(ranks))
    if isinstance(ranks, frozenset) and ranks and min(ranks) >= 0:
        return ranks
    raise UsageError(f"ranks must be a world size or a frozenset of ranks; got {ranks!r}")


class LocalTensorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs the block for a set of ranks at once.

    Factories make LocalTensors, random operators draw from each rank's own stream,
    `torch.distributed.get_rank()` and DeviceMesh coordinates are rank-dependent ints, and
    collectives act on all groups of their family. Plain tensors hold the same on all ranks.

    Args:
        ranks: a world size, or the global ranks as a frozenset.
        rank_dependent_get_rank: False leaves `torch.distributed.get_rank()` as it is (rank 0's),
            for programs written for PyTorch's simulator.

    Raises:
        UsageError: no rank, or a negative one.

    Source: `torch.distributed._local_tensor.LocalTensorMode`.
    """

    # PyTorch hands torch.cond, flex_attention and their like to __torch_dispatch__, too.
    supports_higher_order_operators = True

    def __init__(
        self, ranks: int | frozenset[int], *, rank_dependent_get_rank: bool = True
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = checked_ranks(ranks)
        self.has_rank_dependent_get_rank = rank_dependent_get_rank
        self.refuses_unheard_errors = False  # a warning tells of them
        self.rank_set = _C.RankSet(sorted(self.ranks))
        self._state = _C.LockstepMode(self.rank_set)

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        # torch.compile is to run frames uncompiled here: a graph would hold one rank's shapes.
        return False

    @property
    def _disable(self) -> bool:
        return not self._state.enabled

    @property
    def _per_rank_rng_states(self) -> RankStates:
        return RankStates(self._state)

    def _any_local_rng_state(self) -> RankState:
        return self._per_rank_rng_states[min(self.ranks)]

    def __enter__(self) -> LocalTensorMode:
        require_tried_python("lockstep")
        _C.cover_operators()
        _C.register_python_mode(self, self._state)
        if not _fake_tensor_mode_is_active():
            self._state.restart_generators()
        self._state.enabled = True
        if not active_modes():
            self._unheard = UnheardErrors()
        watch_names()
        prepare_guards()
        keep_comparisons_asked()
        _C.guard_text()
        for replacements in _REPLACEMENTS:
            replacements.enter()
        active_modes().append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_val, exc_tb)  # type: ignore[no-untyped-call]
        active_modes().pop()
        for replacements in _REPLACEMENTS:
            replacements.leave()
        _C.unguard_text()
        if self not in active_modes():
            self._state.store_generators()
            self._state.enabled = False
            _C.unregister_python_mode(self)
        told = None if active_modes() else self._unheard.end(exc_val)
        if (error := explained(exc_val, exc_tb)) is not None:
            raise error from exc_val
        if told is None:
            return
        if told.is_certain and self.refuses_unheard_errors and _ends_well(exc_val):
            raise DivergenceError(told.text)
        warnings.warn(told.text, RuntimeWarning, stacklevel=2)

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Handle what our kernel passed on: operands that handle operators themselves, and
        operators that it does not cover yet.
        """
        if any(map(is_foreign_subclass, types)) and not isinstance(func, HigherOrderOperator):
            return NotImplemented
        return self._run(func, types, args, kwargs or {})

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch's guard costs a DTensor's operator more than stepping back does; _run() has one.
        return False

    @_disable_dynamo
    def _run(
        self, func: Any, types: tuple[type, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if isinstance(func, HigherOrderOperator):
            return self._run_higher_order(func, args, kwargs)
        _C.cover_operators()
        if not any(issubclass(kind, LocalTensor) for kind in types):
            return func(*args, **kwargs)
        with self._back_on_stack():
            return _C.run_in_engine(func, *args, **kwargs)

    def _run_higher_order(
        self, func: HigherOrderOperator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Carry out what takes functions (torch.cond, flex_attention) as PyTorch does eagerly."""
        kernel = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
        if kernel is None:
            raise UnsupportedOpError(
                f"{func} has no meaning in operators, so it can't run for all ranks at once. Call the "
                "functions that it takes, or run the program in the threads world "
                "(`polyrank run --world threads`)."
            )
        code = getattr(kernel, "__code__", None)
        if code is not None and "_get_current_dispatch_mode" in code.co_names:
            # It asks for no mode on the stack. The functions that it calls run in ours.
            args, kwargs = pytree.tree_map_only(callable, self._in_mode, (args, kwargs))
            return kernel(*args, **kwargs)
        with self._back_on_stack():
            return kernel(*args, **kwargs)

    def _in_mode(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._back_on_stack():
                return function(*args, **kwargs)

        return call

    @contextlib.contextmanager
    def _back_on_stack(self) -> Iterator[None]:
        # PyTorch takes a mode off the stack while its __torch_dispatch__ runs.
        torch._C._push_on_torch_dispatch_stack(self)
        try:
            yield
        finally:
            torch._C._pop_torch_dispatch_stack(None)

    def disable_(self) -> None:
        """Stop making LocalTensors; those that exist still run on all ranks."""
        self._state.enabled = False

    def enable_(self) -> None:
        """Make LocalTensors again."""
        self._state.enabled = True

    def disable(self) -> AbstractContextManager[None]:
        """Switch the mode off for the block, for code that acts for one rank."""
        return self._switched(to=False)

    def enable(self) -> AbstractContextManager[None]:
        """Switch the mode on for the block, inside one where it is off."""
        return self._switched(to=True)

    @contextlib.contextmanager
    def _switched(self, *, to: bool) -> Iterator[None]:
        was_enabled = self._state.enabled
        self._state.enabled = to
        try:
            yield
        finally:
            self._state.enabled = was_enabled

    def rank_map(self, cb: Callable[[int], torch.Tensor]) -> LocalTensor:
        """A LocalTensor of `cb(rank)` for each rank."""
        with self.disable():
            return LocalTensor({rank: cb(rank) for rank in sorted(self.ranks)})

    def tensor_map(
        self, tensor: LocalTensor, cb: Callable[[int, torch.Tensor], torch.Tensor | None]
    ) -> LocalTensor:
        """A LocalTensor of `cb(rank, its tensor)`, over the ranks for which that is not None.

        The callback sees each rank's tensor read-only; what it returns may be that tensor or a
        view of it, which is then copied.
        """
        with self.disable():
            results = {}
            for rank, own in _read_only(tensor, self.ranks & tensor._ranks).items():
                result = cb(rank, own)
                if result is not None:
                    results[rank] = result.clone() if _share_memory(result, own) else result
            return LocalTensor(results)


def _read_only(tensor: LocalTensor, ranks: frozenset[int]) -> dict[int, torch.Tensor]:
    """Each rank's tensor, in the order of ranks; none can be written, all can be cloned lazily.

    `on_rank()` gives the bytes of the LocalTensor itself, which PyTorch does not clone lazily. So
    here the ranks of a cohort look at one copy.
    """
    own = {}
    for cohort in tensor.cohorts():
        members = ranks & frozenset(cohort.ranks)
        if type(cohort.tensor) is not torch.Tensor or cohort.tensor.layout != torch.strided:
            own.update({rank: tensor.on_rank(rank) for rank in members})
            continue
        copy = cohort.tensor.clone()
        for rank in members:
            own[rank] = torch._lazy_clone(copy)
            torch._C._set_throw_on_mutable_data_ptr(own[rank])
    return {rank: own[rank] for rank in sorted(own)}


def _ends_well(error: BaseException | None) -> bool:
    return error is None or (isinstance(error, SystemExit) and not error.code)


def _share_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage()._cdata == b.untyped_storage()._cdata  # type: ignore[no-any-return]


def _fake_tensor_mode_is_active() -> bool:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return any(isinstance(mode, FakeTensorMode) for mode in _get_current_dispatch_mode_stack())
