"""Every operator of PyTorch's OpInfo database gives each rank what that rank alone computes.

Quick: the first three samples in one dtype; the first one without gradients, in place, and with `out=`.
POLYRANK_SWEEP=1: many samples in every dtype of `SWEEP_DTYPES` that the operator takes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from oracle.known_gaps import OF_SUBCLASSES, gap_of
from oracle.op_check import Program, SampleCheck, ways
from oracle.op_samples import RankSample, first_dtype, rank_samples
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.testing._internal.opinfo.core import OpInfo

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
SWEEP_DTYPES = (torch.float32, torch.complex64, torch.int64, torch.bool, torch.bfloat16)
NUM_SAMPLES = 12 if SWEEP else 3
NUM_VARIANT_SAMPLES = 4 if SWEEP else 1  # without gradients, in place, and with out=

_CPU_OPS = [op for op in op_db if op.supported_dtypes("cpu")]

every_op = pytest.mark.parametrize("op", _CPU_OPS, ids=[op.full_name for op in _CPU_OPS])


@every_op
def test_forward_and_backward(op: OpInfo) -> None:
    def call(sample: RankSample) -> Program:
        def program(leaves: list[Any]) -> Any:
            first, args, kwargs = pytree.tree_unflatten(leaves, sample.spec)
            return op(first, *args, **kwargs)

        return program

    _check("forward and backward", op, call, NUM_SAMPLES, backward=op.supports_autograd)


@every_op
def test_gradients_that_are_differentiated(op: OpInfo) -> None:
    """Where gradients have a graph, some formulas take another way."""
    if not op.supports_gradgrad:
        pytest.skip("has no second derivative")

    def call(sample: RankSample) -> Program:
        def program(leaves: list[Any]) -> Any:
            first, args, kwargs = pytree.tree_unflatten(leaves, sample.spec)
            return op(first, *args, **kwargs)

        return program

    num_samples = NUM_SAMPLES if "prod" in op.name or "det" in op.name else NUM_VARIANT_SAMPLES
    _check("second derivatives", op, call, num_samples, backward=True, twice=True)


@every_op
def test_forward_alone(op: OpInfo) -> None:
    """Where no gradient is asked for, some operators take another way."""
    if not op.supports_autograd:
        pytest.skip("asks for none in test_forward_and_backward")
    if not SWEEP and not op.full_name.startswith(("linalg", "norm", "nn.functional.one_hot")):
        pytest.skip("takes one way as far as the sweep knows")

    def call(sample: RankSample) -> Program:
        def program(leaves: list[Any]) -> Any:
            leaves[:] = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            first, args, kwargs = pytree.tree_unflatten(leaves, sample.spec)
            return op(first, *args, **kwargs)

        return program

    _check("forward", op, call, NUM_VARIANT_SAMPLES, backward=False)


@every_op
def test_in_place(op: OpInfo) -> None:
    if op.inplace_variant is None:
        pytest.skip("has no in-place form")

    def call(sample: RankSample) -> Program:
        def program(leaves: list[Any]) -> Any:
            first, args, kwargs = pytree.tree_unflatten(leaves, sample.spec)
            # Leaves of autograd can't be written; the copy must be, and not what it was made of.
            target = first.clone() if first.requires_grad else first
            result = op.inplace_variant(target, *args, **kwargs)
            assert result is target
            return result

        return program

    backward = op.supports_autograd and op.supports_inplace_autograd
    _check("in-place", op, call, NUM_VARIANT_SAMPLES, backward=backward)


@every_op
def test_out(op: OpInfo) -> None:
    if not op.supports_out:
        pytest.skip("has no out=")

    def call(sample: RankSample) -> Program:
        def program(leaves: list[Any]) -> Any:
            leaves[:] = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            first, args, kwargs = pytree.tree_unflatten(leaves, sample.spec)
            out = pytree.tree_map_only(Tensor, torch.empty_like, op(first, *args, **kwargs))
            op(first, *args, **kwargs, out=out)
            return out

        return program

    _check("out", op, call, NUM_VARIANT_SAMPLES, backward=False)


def _check(
    check: str,
    op: OpInfo,
    call: Callable[[RankSample], Program],
    num_samples: int,
    *,
    backward: bool,
    twice: bool = False,
) -> None:
    gap = gap_of(check, op.full_name)
    of_subclass = (check, op.full_name) in OF_SUBCLASSES
    failures, takes_other_way = [], False
    for dtype in _dtypes(op):
        for sample in rank_samples(op, dtype, num_samples):
            program, given = call(sample), {"backward": backward, "twice": twice}
            checker = SampleCheck(program, sample, **given)
            other = SampleCheck(program, sample, **given, of_subclass=True)
            for way in ways(sample):
                failure = checker.failure(way)
                if of_subclass and failure is not None:
                    takes_other_way = True
                    failure = other.failure(way)
                if failure is not None:
                    failures.append((way.name, f"{dtype}, sample {sample.index}: {failure}"))
    gap_ways = gap.ways if gap is not None else ()
    unexpected = [f"{way}, {text}" for way, text in failures if way not in gap_ways]
    assert not unexpected, "\n".join(unexpected[:5])
    take_it_off = f"passes now, take it off known_gaps.py: {check} of {op.full_name}"
    closed = set(gap_ways) - {way for way, _ in failures}
    assert not closed, f"{take_it_off}, {closed}"
    # The few samples of the quick test may not show it.
    assert takes_other_way or not (SWEEP and of_subclass), take_it_off


def _dtypes(op: OpInfo) -> list[torch.dtype]:
    supported = op.supported_dtypes("cpu")
    if not SWEEP:
        return [first_dtype(op)]
    return [dtype for dtype in SWEEP_DTYPES if dtype in supported] or [first_dtype(op)]
