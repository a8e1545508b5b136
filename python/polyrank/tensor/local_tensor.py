"""LocalTensor: the tensor that stands for one tensor per rank."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.optim.optimizer import _foreach_supported_types as _optimizer_types
from torch.utils._foreach_utils import _foreach_supported_types as _foreach_types
from torch.utils._python_dispatch import _disable_current_modes

from polyrank import _C
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.numbers.rank_dependent_index import get_item, set_item
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.addresses import address_of, storage_address_of

_COHORTS_SHOWN = 8
_RANK_ATTRIBUTE = "_local_tensor_"


class RankTensors(MutableMapping[int, torch.Tensor]):
    """The tensors of a LocalTensor by global rank, live.

    Reading `tensors[rank]` hands out the rank's tensor to be written: the rank is split off first,
    so that writing to it touches no other rank. To look without splitting use
    `LocalTensor.cohorts()` or `LocalTensor.on_rank()`.
    """

    def __init__(self, owner: LocalTensor) -> None:
        self._owner = owner

    def __getitem__(self, rank: int) -> torch.Tensor:
        if rank not in self:
            raise KeyError(rank)
        return _C.take_rank(self._owner, rank)

    def __setitem__(self, rank: int, value: torch.Tensor) -> None:
        _C.put_rank(self._owner, rank, value)

    def __delitem__(self, rank: int) -> None:
        raise UsageError(f"rank {rank} can't be taken out of a LocalTensor; make one without it")

    def __contains__(self, rank: object) -> bool:
        return isinstance(rank, int) and rank in _C.ranks_of(self._owner)

    def __iter__(self) -> Iterator[int]:
        return iter(_C.ranks_of(self._owner))

    def __len__(self) -> int:
        return len(_C.ranks_of(self._owner))


class LocalUntypedStorage(torch.UntypedStorage):
    """The storage of a LocalTensor: all ranks' memory."""

    def resize_(self, size: int | torch.SymInt) -> LocalUntypedStorage:
        """Free (0) or regrow the memory of all ranks; bytes up to the smaller size are kept."""
        _C.resize_storage(self, size)
        return self

    def data_ptr(self) -> Any:
        """What tells this memory from others; see `LocalTensor.data_ptr`."""
        return storage_address_of(self)


class LocalTensor(torch.Tensor):
    """One tensor per rank, in one object.

    An operator on a LocalTensor gives what each rank alone would compute. Ranks that provably hold
    the same value share one tensor (a cohort), so the cost follows the distinct values and not the
    ranks. Sizes that differ between ranks are rank-dependent ints.

    Args:
        local_tensors: a plain tensor for each global rank; the LocalTensor shares their memory, and
            ranks given the same tensor object are one cohort. Of a LocalTensor, a rank takes a copy
            of what that rank holds: `rank_map(lambda rank: x.clone())` needs no plain `x`.
        requires_grad: whether autograd records operators on the LocalTensor.

    Raises:
        UsageError: no tensor is given, a rank is negative or outside of the active mode, or the
            tensors require grad, are LocalTensors that do not live on the rank, or differ in dtype,
            layout, device or number of dimensions.

    Source: `torch.distributed._local_tensor.LocalTensor`, whose names and meanings it keeps.
    """

    # The default would send each call through Python; nothing here needs it.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(
        cls, local_tensors: Mapping[int, torch.Tensor], requires_grad: bool = False
    ) -> LocalTensor:
        if not isinstance(local_tensors, Mapping):
            raise UsageError(
                "LocalTensor takes a mapping of ranks to their tensors. If this was `type(x)(...)`: in lockstep "
                "every tensor is a LocalTensor. Name the class (`torch.tensor`, `torch.nn.Parameter`)."
            )
        mode = enabled_local_tensor_mode()
        outside = sorted(set(local_tensors) - mode.ranks) if mode is not None else []
        if outside:
            raise UsageError(
                f"ranks {_C.RankSet(outside)} are outside of the active mode, "
                f"which runs ranks {_C.RankSet(list(mode.ranks))}"  # type: ignore[union-attr]
            )
        for rank, tensor in local_tensors.items():
            if not isinstance(rank, int) or not isinstance(tensor, torch.Tensor):
                raise UsageError(
                    "local_tensors maps a rank (int) to its tensor (torch.Tensor); got "
                    f"{rank!r}: {type(tensor).__name__}"
                )
        tensors = {rank: _plain_on(rank, tensor) for rank, tensor in local_tensors.items()}
        result: LocalTensor = _C.make_local_tensor(tensors)
        return result.requires_grad_() if requires_grad else result  # type: ignore[return-value]

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator that reached Python before our kernel: see NOTE in engine/kernel.h."""
        if any(is_foreign_subclass(kind) for kind in types):
            return NotImplemented
        if not isinstance(func, torch._ops.OpOverload):
            raise UnsupportedOpError(
                f"{func} is a higher-order operator, which has no meaning rank by rank yet. "
                "Call the functions it wraps outside of torch.compile."
            )
        return _C.run_in_engine(func, *args, **(kwargs or {}))

    # --- Looking at ranks ---------------------------------------------------------------------

    def cohorts(self) -> list[_C.Cohort]:
        """The cohorts: each with its `ranks` and a read-only `tensor`. Splits and copies nothing."""
        from polyrank.output.html_repr import Cohorts

        return Cohorts(_C.cohorts(self))

    def on_rank(self, rank: int) -> torch.Tensor:
        """One rank's tensor, read-only, without a copy; writing to it raises.

        Raises:
            UsageError: the LocalTensor does not live on `rank`.
        """
        return _C.on_rank(self, rank)

    @property
    def _local_tensors(self) -> RankTensors:
        return RankTensors(self)

    @property
    def _ranks(self) -> frozenset[int]:
        return frozenset(_C.ranks_of(self))

    @property
    def _size(self) -> list[int | torch.SymInt]:
        return list(self.shape)

    def _equal_local_tensors(self) -> torch.Tensor | torch.Size | None:
        # What all ranks hold, or only its shape where they agree on no more.
        tensors = [cohort.tensor for cohort in self.cohorts()]
        if all(tensor.equal(tensors[0]) for tensor in tensors[1:]):
            return tensors[0]
        if all(tensor.shape == tensors[0].shape for tensor in tensors[1:]):
            return tensors[0].shape
        return None

    def _sync_meta(self) -> None:
        """Nothing to do: the geometry is read from the cohorts."""

    def __getitem__(self, index: Any) -> torch.Tensor:
        """As torch.Tensor's; an index may be a rank-dependent int too."""
        return get_item(torch._C.TensorBase.__getitem__, self, index)  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        """As torch.Tensor's; an index may be a rank-dependent int too."""
        set_item(torch._C.TensorBase.__setitem__, self, index, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_RANK_ATTRIBUTE):
            rank = int(name.removeprefix(_RANK_ATTRIBUTE))
            if rank not in _C.ranks_of(self):
                raise AttributeError(f"this LocalTensor does not live on rank {rank}")
            return _C.take_rank(self, rank)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # PyTorch's own compare the sizes once for all ranks, outside of any operator, and raise for all.
    def _check_one_element(self) -> None:
        if type(self.numel()) is not int:
            with contextlib.suppress(RuntimeError):  # of all ranks: PyTorch's own error follows
                self.item()

    def __float__(self) -> float:
        self._check_one_element()
        return super().__float__()

    def __int__(self) -> int:
        self._check_one_element()
        return super().__int__()

    def __complex__(self) -> complex:
        self._check_one_element()
        return super().__complex__()

    def __index__(self) -> int:
        self._check_one_element()
        return super().__index__()

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Any, ...]]:
        return [f"{_RANK_ATTRIBUTE}{rank}" for rank in _C.ranks_of(self)], ()

    @staticmethod
    def __tensor_unflatten__(
        inner_tensors: dict[str, torch.Tensor],
        flatten_spec: tuple[Any, ...],
        outer_size: torch.Size,
        outer_stride: tuple[int, ...],
    ) -> LocalTensor:
        if flatten_spec is None:
            raise UsageError("flatten_spec must be what __tensor_flatten__ returned")
        return LocalTensor(
            {int(name.removeprefix(_RANK_ATTRIBUTE)): t for name, t in inner_tensors.items()}
        )

    def untyped_storage(self) -> LocalUntypedStorage:
        """All ranks' memory, which can be freed and regrown (`resize_`) but has no data pointer."""
        storage = super().untyped_storage()
        # PyTorch makes the object; its own resize_() knows one data pointer only.
        storage.__class__ = LocalUntypedStorage
        return storage  # type: ignore[return-value]

    def wait(self) -> LocalTensor:
        """The tensor itself: functional collectives, whose results are waited for, are done."""
        return self

    # --- Leaving the tensor world -------------------------------------------------------------

    def reconcile(self) -> torch.Tensor:
        """The one tensor that all ranks hold, as a plain tensor of its own.

        Raises:
            DivergenceError: ranks hold different values.
        """
        return _C.reconcile(self.detach()).requires_grad_(self.requires_grad)

    def data_ptr(self) -> Any:
        """What tells its memory from that of others (a TensorAddress); no number, since each rank has its own.

        Raises:
            UnsupportedOpError: ranks may disagree about which tensors share memory.
        """
        return address_of(self)

    def numpy(self, *, force: bool = False) -> Any:
        """The array that all ranks hold, on the tensor's memory.

        While the array, or one made of it, is there, ranks can't part in that memory. Where ranks hold the
        same in memory of their own, the array is a copy that can't be written.

        Raises:
            DivergenceError: ranks hold different values.
        """
        lent = None if self.requires_grad and not force else _C.lend(self)
        if lent is not None:
            return lent.numpy(force=force)
        copied = self.reconcile().numpy(force=force)
        copied.flags.writeable = False
        return copied

    def tolist(self) -> Any:
        """The values as nested lists; ints that differ between ranks are rank-dependent ints.

        Raises:
            DivergenceError: ranks hold different values of a type other than int.
        """
        if len(self.cohorts()) == 1:
            return self.cohorts()[0].tensor.tolist()
        if self.dim() == 0:
            return self.item()
        return [row.tolist() for row in self.unbind(0)]

    def __repr__(self, *, tensor_contents: object = None) -> str:  # type: ignore[override]
        with _disable_current_modes(), torch.no_grad():
            cohorts = self.cohorts()
            lines = [
                f"  ranks {cohort.ranks}: {cohort.tensor}" for cohort in cohorts[:_COHORTS_SHOWN]
            ]
            if len(cohorts) > _COHORTS_SHOWN:
                lines.append(f"  … {len(cohorts) - _COHORTS_SHOWN} more cohorts")
        history = ""
        if self.grad_fn is not None:
            history = f", grad_fn=<{self.grad_fn.name()}>"
        elif self.requires_grad:
            history = ", requires_grad=True"
        ranks = _C.ranks_of(self)
        noun = "cohort" if len(cohorts) == 1 else "cohorts"
        return "\n".join(
            [f"LocalTensor({len(ranks)} ranks in {len(cohorts)} {noun}{history}", *lines, ")"]
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: a table with a row for each cohort."""
        from polyrank.output.html_repr import html_repr

        return html_repr(self)

    def __format__(self, spec: str) -> str:
        # As torch.Tensor: a number prints as one, where all ranks hold it.
        if self.dim() == 0 and spec:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    # --- Copying ------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalTensor:
        from polyrank.tensor.pickling import deepcopy_local_tensor

        return deepcopy_local_tensor(self, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        from polyrank.tensor.pickling import reduce_local_tensor

        return reduce_local_tensor(self)


def _plain_on(rank: int, tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, AsyncCollectiveTensor):
        tensor = tensor.wait()
    if not isinstance(tensor, LocalTensor) or tensor.requires_grad:  # which is refused for all
        return tensor
    return tensor.on_rank(rank).clone()


@functools.cache
def is_foreign_subclass(kind: type) -> bool:
    """Whether tensors of this type handle operators themselves, so that ours must step back."""
    from torch._subclasses.fake_tensor import FakeTensor

    own = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer, FakeTensor, LocalTensor)
    return issubclass(kind, torch.Tensor) and kind not in own


_C.set_local_tensor_class(LocalTensor)

# Optimizers and clipping on a GPU take all tensors in one operator if their classes are among these,
# as DTensor is. One by one, sums round differently.
_optimizer_types.append(LocalTensor)
_foreach_types.append(LocalTensor)


def _cohort_text(cohort: _C.Cohort) -> str:
    return f"Cohort(ranks {cohort.ranks}: {cohort.tensor})"


_C.Cohort.__repr__ = _cohort_text  # type: ignore[method-assign,assignment]
