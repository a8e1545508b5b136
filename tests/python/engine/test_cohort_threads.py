"""Cohorts on several threads give what each rank alone gives."""

from __future__ import annotations

from collections.abc import Iterator

import polyrank
import pytest
import torch
from torch import Tensor

NUM_RANKS = 6
NUM_CALLS = 8  # threads are tried after the first call, and measured for some


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = polyrank.num_cohort_threads()
    polyrank.set_num_cohort_threads(3)
    yield
    polyrank.set_num_cohort_threads(before)


def operands() -> list[Tensor]:
    return [torch.randn(150, 150, generator=torch.Generator().manual_seed(r)) for r in range(6)]


def assert_equal_on_each_rank(actual: Tensor, expected: list[Tensor]) -> None:
    for rank, tensor in enumerate(expected):
        assert torch.equal(actual.on_rank(rank), tensor)


def test_operators_and_gradients() -> None:
    tensors = operands()

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        y = torch.softmax(x @ x.t(), 1).cumsum(0)
        y.mul_(x.sum())
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        return y.detach(), gradient

    expected = [run(tensor) for tensor in tensors]
    with polyrank.LocalTensorMode(NUM_RANKS):
        x = polyrank.rank_map(lambda rank: tensors[rank])
        for _ in range(NUM_CALLS):
            y, gradient = run(x)
            assert_equal_on_each_rank(y, [values for values, _ in expected])
            assert_equal_on_each_rank(gradient, [values for _, values in expected])


def test_each_rank_draws_from_its_own_stream() -> None:
    def draw() -> list[Tensor]:
        return [torch.nn.functional.dropout(torch.ones(200, 200)) for _ in range(NUM_CALLS)]

    expected = []
    for rank in range(NUM_RANKS):
        torch.manual_seed(rank)
        expected.append(draw())
    with polyrank.lockstep(world_size=NUM_RANKS):
        torch.manual_seed(torch.distributed.get_rank())
        drawn = draw()
    for call, tensor in enumerate(drawn):
        assert_equal_on_each_rank(tensor, [of_rank[call] for of_rank in expected])


def test_one_rank_fails() -> None:
    with polyrank.LocalTensorMode(NUM_RANKS):
        rows = polyrank.rank_map(lambda rank: torch.randn(400, 400))
        index = polyrank.rank_map(lambda rank: torch.full((300,), 400 if rank == 4 else rank))
        for _ in range(NUM_CALLS):
            with pytest.raises(polyrank.DivergenceError, match=r"rank 4.*out of range"):
                rows.index_select(0, index)


def test_all_ranks_fail() -> None:
    with polyrank.LocalTensorMode(NUM_RANKS):
        rows = polyrank.rank_map(lambda rank: torch.randn(400, 400))
        index = polyrank.rank_map(lambda rank: torch.full((300,), 400 + rank))
        for _ in range(NUM_CALLS):
            with pytest.raises(IndexError, match="out of range"):
                rows.index_select(0, index)


def test_the_number_of_threads_is_checked() -> None:
    polyrank.set_num_cohort_threads(2)
    assert polyrank.num_cohort_threads() == 2
    with pytest.raises(polyrank.UsageError, match="1 thread or more, not on -1"):
        polyrank.set_num_cohort_threads(-1)
