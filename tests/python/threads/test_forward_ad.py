"""Forward-mode AD on ranks that are threads: one at a time, and a second one is told which rank is in it."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.distributed as dist
from polyrank.errors import UnsupportedOpError
from torch import Tensor


def in_a_level(between: Callable[[], object]) -> Tensor:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(2), torch.ones(2) * (dist.get_rank() + 3))
        between()
        tangent: Tensor = forward_ad.unpack_dual(dual * 2).tangent
    return tangent


def in_jvp(between: Callable[[], object]) -> Tensor:
    def square(x: Tensor) -> Tensor:
        between()
        return x**2

    tangent: Tensor = torch.func.jvp(
        square, (torch.ones(2),), (torch.ones(2) * (dist.get_rank() + 3),)
    )[1]
    return tangent


BOTH = pytest.mark.parametrize("derivative", [in_a_level, in_jvp])


@BOTH
@pytest.mark.parametrize("world", ["threads", "processes"])
def test_each_rank_has_its_derivative(derivative: Callable[..., Tensor], world: str) -> None:
    def program() -> list[Tensor]:
        first = derivative(lambda: None)
        dist.all_reduce(first)
        return [first, derivative(lambda: None)]

    found = polyrank.run_ranks(program, 2, world=world)
    assert [[one.tolist() for one in of_rank] for of_rank in found] == [
        [[14.0, 14.0], [6.0, 6.0]],
        [[14.0, 14.0], [8.0, 8.0]],
    ]


@BOTH
def test_a_rank_that_waits_in_it_is_named(derivative: Callable[..., Tensor]) -> None:
    with pytest.raises(ExceptionGroup) as failed:
        polyrank.run_ranks(lambda: derivative(dist.barrier), 2)
    error = failed.value.exceptions[0]
    assert isinstance(error, UnsupportedOpError)
    assert "rank 0 is in forward-mode AD" in str(error)
    assert polyrank.run_ranks(lambda: derivative(lambda: None).tolist(), 2) == [
        [6.0] * 2,
        [8.0] * 2,
    ]


@BOTH
def test_processes_may_wait_in_it(derivative: Callable[..., Tensor]) -> None:
    found = polyrank.run_ranks(lambda: derivative(dist.barrier).tolist(), 2, world="processes")
    assert found == [[6.0] * 2, [8.0] * 2]
