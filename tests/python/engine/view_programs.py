"""Random programs of views and writes, as hypothesis strategies.

A program is a list of steps; each step is run on a list of tensors that it may extend. Tensors all
have float32 elements; which step applies to a tensor depends only on its shape, so that the program
means the same on every rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from hypothesis import strategies as st
from oracle.as_alone import Argument, distinct, mixed, shared
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Step:
    """One step: `run(tensors, operand)` makes views or writes; `text` is for the report."""

    text: str
    run: Callable[[list[Tensor], Tensor], None]

    def __repr__(self) -> str:
        return self.text


def _pick(tensors: list[Tensor], which: int) -> Tensor:
    return tensors[which % len(tensors)]


def _view(name: str, which: int, a: int, b: int) -> Step:
    def run(tensors: list[Tensor], operand: Tensor) -> None:
        del operand
        made = VIEWS[name](_pick(tensors, which), a, b)
        tensors.extend(made if isinstance(made, (list, tuple)) else [made])

    return Step(f"{name}(t{which}, {a}, {b})", run)


def _narrow(x: Tensor, a: int, b: int) -> Tensor:
    if x.dim() == 0 or x.size(0) == 0:
        return x[...]
    start = a % x.size(0)
    return x.narrow(0, start, 1 + b % (x.size(0) - start))


def _select(x: Tensor, a: int, b: int) -> Tensor:
    del b
    return x.select(0, a % x.size(0)) if x.dim() > 0 and x.size(0) > 0 else x.view_as(x)


def _transpose(x: Tensor, a: int, b: int) -> Tensor:
    return x.transpose(a % x.dim(), b % x.dim()) if x.dim() > 0 else x.view_as(x)


def _as_strided(x: Tensor, a: int, b: int) -> Tensor:
    size = x.untyped_storage().nbytes() // 4
    if size < 4:
        return x.detach()
    return x.as_strided((2,), (1 + b % 2,), a % (size - 2))


def _split(x: Tensor, a: int, b: int) -> list[Tensor]:
    del b
    return list(x.split(1 + a % 3))[:2] if x.dim() > 0 else [x.detach()]


def _slice(x: Tensor, a: int, b: int) -> Tensor:
    return x[a % 2 :: 1 + b % 2] if x.dim() > 0 else x[None]


VIEWS: dict[str, Callable[[Tensor, int, int], Tensor | list[Tensor]]] = {
    "narrow": _narrow,
    "select": _select,
    "slice": _slice,
    "transpose": _transpose,
    "view": lambda x, a, _b: x.view(-1) if x.is_contiguous() else x.unsqueeze(a % (x.dim() + 1)),
    "reshape": lambda x, _a, _b: x.reshape(-1),
    "contiguous": lambda x, _a, _b: x.contiguous(),
    "expand": lambda x, a, _b: x.expand(1 + a % 2, *x.shape) if x.dim() < 3 else x.detach(),
    "as_strided": _as_strided,
    "detach": lambda x, _a, _b: x.detach(),
    "unbind": lambda x, _a, _b: list(x.unbind(0))[:2] if x.dim() > 0 else [x.detach()],
    "split": _split,
    "clone": lambda x, _a, _b: x.clone(),
}


def _overlaps(x: Tensor) -> bool:
    """Whether elements share memory, so that writing is refused."""
    return any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True))


def _operand(x: Tensor, operand: Tensor) -> Tensor:
    return operand[: x.numel()].view(x.shape)


WRITES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "add_": lambda x, y: x.add_(_operand(x, y)),
    "mul_": lambda x, y: x.mul_(_operand(x, y)),
    "copy_": lambda x, y: x.copy_(_operand(x, y)),
    "fill_": lambda x, _y: x.fill_(1.5),
    "zero_": lambda x, _y: x.zero_(),
    "mul_ number": lambda x, _y: x.mul_(0.5),
    "setitem": lambda x, y: x.__setitem__(..., y[0]),
    "out=": lambda x, y: torch.exp(_operand(x, y), out=x),
    "addcmul_": lambda x, y: x.addcmul_(_operand(x, y), _operand(x, y)),
}


def _write(name: str, which: int) -> Step:
    def run(tensors: list[Tensor], operand: Tensor) -> None:
        target = _pick(tensors, which)
        if not _overlaps(target) and target.numel() > 0:
            WRITES[name](target, operand)

    return Step(f"{name}(t{which})", run)


def _resize(which: int, a: int) -> Step:
    def run(tensors: list[Tensor], operand: Tensor) -> None:
        target = _pick(tensors, which)
        target.resize_(1 + a % 9)
        target.copy_(operand[: target.numel()])  # new memory holds anything

    return Step(f"resize_(t{which}, {1 + a % 9})", run)


def _set(which: int, source: int) -> Step:
    def run(tensors: list[Tensor], operand: Tensor) -> None:
        del operand
        _pick(tensors, which).set_(_pick(tensors, source))

    return Step(f"set_(t{which}, t{source})", run)


def _free_and_regrow(which: int) -> Step:
    def run(tensors: list[Tensor], operand: Tensor) -> None:
        storage = _pick(tensors, which).untyped_storage()
        num_bytes = storage.nbytes()
        storage.resize_(0)
        storage.resize_(num_bytes)
        whole = torch.empty_like(operand[:0]).set_(storage, 0, (num_bytes // 4,), (1,))
        whole.copy_(operand[:1].expand(num_bytes // 4))

    return Step(f"free and regrow(t{which})", run)


_index = st.integers(0, 11)
view_steps = st.builds(_view, st.sampled_from(sorted(VIEWS)), _index, _index, _index)
write_steps = st.builds(_write, st.sampled_from(sorted(WRITES)), _index)
storage_steps = st.one_of(
    st.builds(_resize, _index, _index),
    st.builds(_set, _index, _index),
    st.builds(_free_and_regrow, _index),
)


def arguments(*shape: int, requires_grad: bool = False) -> st.SearchStrategy[Argument]:
    """A tensor that all ranks share, that two cohorts hold, or that differs on each rank."""

    def argument(make: Callable[..., Argument], seed: int) -> Argument:
        return make(*shape, requires_grad=requires_grad, seed=seed)

    return st.builds(argument, st.sampled_from([shared, mixed, distinct]), st.integers(0, 5))


# The operand of each step, next to the step.
Program = list[tuple[Step, Argument]]


def programs(*steps: st.SearchStrategy[Step], max_size: int = 10) -> st.SearchStrategy[Program]:
    """Programs whose steps are of these kinds."""
    return st.lists(st.tuples(st.one_of(*steps), arguments(64)), min_size=1, max_size=max_size)
