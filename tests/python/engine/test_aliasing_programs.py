"""Random programs of views and writes give each rank what it gets alone."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle.as_alone import Argument, assert_as_alone, shared
from torch import Tensor
from view_programs import Program, arguments, programs, storage_steps, view_steps, write_steps


def run_steps(program: Program) -> Any:
    """The function that runs the steps on a tensor and returns all tensors that they made."""

    def run(x: Tensor, *operands: Tensor) -> Any:
        tensors = [x.clone()]
        for (step, _), operand in zip(program, operands, strict=True):
            step.run(tensors, operand)
        return tensors, [tensor._version for tensor in tensors], _storage_groups(tensors)

    return run


def _storage_groups(tensors: list[Tensor]) -> list[int]:
    """For each tensor, the first one that shares its storage."""
    storages = [tensor.untyped_storage()._cdata for tensor in tensors]
    return [storages.index(storage) for storage in storages]


def operands_of(program: Program) -> list[Argument]:
    return [operand for _, operand in program]


@given(programs(view_steps, write_steps), arguments(4, 3))
def test_views_and_writes(program: Program, x: Argument) -> None:
    assert_as_alone(run_steps(program), x, *operands_of(program))


@given(programs(view_steps, write_steps), arguments(4, 3))
def test_views_and_writes_outside_of_a_mode(program: Program, x: Argument) -> None:
    assert_as_alone(run_steps(program), x, *operands_of(program), in_mode=False)


@given(programs(view_steps, write_steps, storage_steps), arguments(4, 3))
def test_storages_that_change(program: Program, x: Argument) -> None:
    assert_as_alone(run_steps(program), x, *operands_of(program))


# Views on some ranks and copies, or errors, on others; test_aliasing.py has them one by one.
DEPENDS_ON_STRIDES = ("as_strided", "contiguous", "reshape", "view")


@given(
    programs(view_steps, write_steps),
    st.sampled_from([[0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]]),
    st.booleans(),
)
def test_ranks_with_other_strides(program: Program, variant: list[int], same_memory: bool) -> None:
    base = torch.arange(16.0).view(4, 4)
    other = base.t() if same_memory else base.t().clone().t()
    x = Argument([base, other], variant)

    def run(x: Tensor, *operands: Tensor) -> Any:
        tensors = [x]
        for (step, _), operand in zip(program, operands, strict=True):
            if not step.text.startswith(DEPENDS_ON_STRIDES):
                step.run(tensors, operand)
        return tensors

    assert_as_alone(run, x, *operands_of(program))


# Autograd refuses these, or (as_strided beyond the view that it is asked of) computes a gradient
# that depends on whether views are replayed, which they always are for tensor subclasses.
WITHOUT_GRADIENT = ("out=", "set", "unbind", "split", "as_strided")


@given(programs(view_steps, write_steps, max_size=7), arguments(4, 3, requires_grad=True))
def test_gradients_through_views_and_writes(program: Program, x: Argument) -> None:
    def run(x: Tensor, *operands: Tensor) -> Any:
        tensors = [x * 1]
        # Raised by autograd for some programs, on all ranks alike.
        try:
            for (step, _), operand in zip(program, operands, strict=True):
                if not step.text.startswith(WITHOUT_GRADIENT):
                    step.run(tensors, operand)
            loss = sum(t.exp().sum() for t in tensors)
            return loss, tensors, torch.autograd.grad(loss, x)
        except RuntimeError as error:
            return str(error)[:40], [tensor._version for tensor in tensors]

    assert_as_alone(run, x, *operands_of(program))


@given(programs(view_steps, write_steps, max_size=6), arguments(4, 3))
def test_saved_tensors_and_version_counters(program: Program, x: Argument) -> None:
    weight = shared(1, requires_grad=True)

    def run(x: Tensor, weight: Tensor, *operands: Tensor) -> Any:
        tensors = [x]
        losses = []
        for (step, _), operand in zip(program, operands, strict=True):
            losses += [(weight * tensor).sum() for tensor in tensors[-2:]]  # saves the tensors
            step.run(tensors, operand)
        gradients: list[Any] = []
        for loss in losses:
            try:
                gradients += torch.autograd.grad(loss, weight)
            except RuntimeError as error:
                gradients.append("modified by an inplace operation" in str(error))
        return tensors, gradients

    assert_as_alone(run, x, weight, *operands_of(program))
