"""Ranks can hold tensors of different shapes, of no elements too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import assert_each_rank, each_rank, local_int, num_cohorts
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


def uneven(*, dtype: torch.dtype = torch.float32, requires_grad: bool = False) -> Argument:
    """Rank r holds 3, 1, 0 or 2 rows of 4."""
    rows = []
    for rank, num_rows in enumerate((3, 1, 0, 2)):
        generator = torch.Generator().manual_seed(rank)
        row = torch.randn(num_rows, 4, generator=generator).to(dtype)
        rows.append(row.requires_grad_(requires_grad))
    return each(*rows)


def uneven_in_two_cohorts() -> Argument:
    """Ranks 0 and 2 hold 3 rows of 4, ranks 1 and 3 one."""
    rows = uneven().values
    return Argument(rows[:2], [0, 1, 0, 1])


PROGRAMS: dict[str, Callable[[Tensor], Any]] = {
    "elementwise": lambda x: (x + 1, x * x, -x, x.exp()),
    "in-place": lambda x: x.mul_(2).add_(1),
    "in-place on a view": lambda x: x[:, 1:3].add_(1),
    "reductions": lambda x: (x.sum(), x.sum(0), x.sum(1), x.mean(1)),
    "transpose": lambda x: (x.t(), x.t().contiguous(), x[None], x.unsqueeze(-1)),
    "matmul": lambda x: (x.t() @ x, x @ torch.ones(4, 2)),
    "linear": lambda x: functional.linear(x, torch.ones(5, 4), torch.ones(5)),
    "softmax": lambda x: functional.softmax(x, dim=1),
    "layer_norm": lambda x: functional.layer_norm(x, (4,)),
    "cat": lambda x: torch.cat([x, x, torch.zeros(1, 4)]),
    "stack": lambda x: torch.stack([x, x]),
    "slicing": lambda x: (x[1:], x[:, 1], x[:0], x[:-1], x[::2]),
    "split by size": lambda x: torch.split(x, [1, 3], dim=1),
    "like": lambda x: (torch.zeros_like(x), torch.empty_like(x).fill_(2), x.new_ones(2)),
    "view with a free dimension": lambda x: (x.view(-1), x.view(2, 2, -1), x.reshape(-1, 2)),
    "flatten": lambda x: x.flatten(),
    "sizes": lambda x: (x.shape, x.size(0), x.numel(), x.stride(), x.t().stride()),
    "pad": lambda x: functional.pad(x, (1, 1)),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "sort": lambda x: torch.sort(x, dim=0),
    "cumsum": lambda x: x.cumsum(0),
    "expand": lambda x: x[:, None].expand(-1, 3, -1),
    "masked_fill": lambda x: x.masked_fill_(x > 0, 0),
    "clone": lambda x: (x.clone(), x.detach(), x.contiguous(), x.to(torch.float64)),
}
programs = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())


@programs
def test_uneven_operands(program: Callable[[Tensor], Any]) -> None:
    assert_as_alone(program, uneven())


@programs
def test_uneven_operands_in_two_cohorts(program: Callable[[Tensor], Any]) -> None:
    assert_as_alone(program, uneven_in_two_cohorts())


def test_sizes_that_differ_are_rank_dependent_ints() -> None:
    x = uneven().on_all_ranks()
    size = x.shape[0]
    assert isinstance(size, torch.SymInt)
    assert_each_rank(size, dict(enumerate((3, 1, 0, 2))))
    assert x.shape[1] == 4
    assert not isinstance(x.shape[1], torch.SymInt)
    assert x.dim() == 2


def test_equal_sizes_are_plain_ints() -> None:
    x = distinct(3, 4).on_all_ranks()
    assert type(x.shape[0]) is int
    assert x.shape == torch.Size([3, 4])


def test_two_uneven_operands() -> None:
    other = each(*[value * 2 for value in uneven().values])
    assert_as_alone(lambda x, y: (x + y, torch.cat([x, y]), x.copy_(y)), uneven(), other)


def test_broadcast_of_an_even_operand() -> None:
    assert_as_alone(lambda x, y: (x + y, x.add_(y), y * x), uneven(), distinct(4))
    assert_as_alone(lambda x, y: (x + y, x.add_(y), y * x), uneven(), shared(1, 4))


def test_factories_with_rank_dependent_sizes() -> None:
    def program(size: int) -> Any:
        return (
            torch.zeros(size),
            torch.ones(2, size),
            torch.empty(size, 3).fill_(1),
            torch.full((size,), 2.5),
            torch.arange(size),
            torch.arange(0, size),
            torch.eye(size),
            torch.rand(size, 2),
            torch.randn(2, size),
            torch.randint(0, 9, (size,)),
        )

    assert_as_alone(program, each(3, 0, 5, 1))


def test_views_with_rank_dependent_arguments() -> None:
    def program(x: Tensor, i: int) -> Any:
        return (
            x.narrow(0, i, 2),
            x.narrow(0, 0, i),
            x[i:],
            x[:i],
            x[i : i + 3],
            x[i],
            x.select(0, i),
            x.view(-1)[i * 2 :],
            x[:, i - i : 2],
        )

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(8, 3), each(0, 1, 2, 3))


def test_split_with_rank_dependent_sizes() -> None:
    def program(x: Tensor, i: int) -> Any:
        return torch.split(x, [i, 8 - i]), torch.tensor_split(x, [i])

    assert_as_alone(program, shared(8, 2), each(0, 1, 2, 8))


def test_view_and_expand_with_rank_dependent_sizes() -> None:
    def program(x: Tensor, i: int) -> Any:
        rows = x[: 2 * i]
        return rows.view(i, 2, 3), rows.view(2, i, 3), rows.reshape(i, 6), x[:1].expand(i, 3)

    assert_as_alone(program, shared(8, 3), each(1, 2, 3, 4))


def test_slicing_by_rank() -> None:
    def program(x: Tensor, rank: int) -> Any:
        chunk = x.size(0) // 4
        own = x[rank * chunk : (rank + 1) * chunk]
        own.mul_(rank)
        return own, x

    assert_as_alone(program, shared(8, 3), each(0, 1, 2, 3))


def test_writing_through_rank_dependent_slices() -> None:
    def program(x: Tensor, y: Tensor, rank: int) -> Any:
        x[rank] = y
        x[rank + 1 :].zero_()
        x.view(-1)[rank] += 1
        return x

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(6, 2), shared(2, seed=1), each(0, 1, 2, 3))


def test_data_dependent_shapes() -> None:
    def program(x: Tensor) -> Any:
        return x.nonzero(), x[x > 0], torch.masked_select(x, x < 0), torch.unique((x * 2).int())

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(5, 4))


def test_repeat_interleave_and_bincount() -> None:
    counts = distinct(4, dtype=torch.int64)
    assert_as_alone(lambda n: torch.repeat_interleave(torch.arange(4), n), counts)
    assert_as_alone(torch.bincount, counts)
    assert_as_alone(lambda n: functional.one_hot(n, 10), counts)


@pytest.mark.parametrize("make", [distinct, shared])
def test_an_in_place_operator_that_resizes(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        result = x.clone().addbmm_(first, second)
        result.sum().backward()
        return result

    arguments = (make(1, requires_grad=True), make(2, 3, 4, seed=1), make(2, 4, 5, seed=2))
    result = assert_as_alone(program, *arguments)
    assert result.shape == (3, 5)


def test_resize_by_rank() -> None:
    def program(x: Tensor, i: int) -> Any:
        view = x[0]
        x.resize_(i, 2).fill_(i)
        return x, view

    assert_as_alone(program, shared(2, 4), each(1, 2, 3, 4))
    assert_as_alone(program, distinct(2, 4), each(4, 4, 4, 4))


def test_ranks_that_agree_on_the_shape_again_have_plain_ints() -> None:
    x = uneven().on_all_ranks()
    total = x.sum(0)
    assert type(total.shape[0]) is int
    assert total.is_contiguous()
    assert num_cohorts(total) == 4


def test_uneven_shapes_in_autograd() -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        loss = (functional.relu(x @ w) ** 2).sum() + x[1:].sum() + torch.cat([x, x]).pow(2).sum()
        return loss, torch.autograd.grad(loss, [x, w])

    weights = (shared(4, 3, requires_grad=True), distinct(4, 3, requires_grad=True))
    for weight in weights:
        assert_as_alone(program, uneven(requires_grad=True), weight)


def test_expanding_gradients_of_uneven_shapes() -> None:
    def program(x: Tensor, b: Tensor) -> Any:
        loss = (x + b).sum() + (x.mean(1, keepdim=True) * b).sum() + x.sum(0).sum()
        return torch.autograd.grad(loss, [x, b])

    assert_as_alone(program, uneven(requires_grad=True), shared(4, requires_grad=True))


def test_operators_with_a_rank_dependent_int() -> None:
    def program(x: Tensor, i: int) -> Any:
        return x[torch.arange(i, 4)], x + i, x * i, i - x, x / (i + 1), x**i

    assert_as_alone(program, shared(4, 2), each(0, 1, 2, 3))


def test_tensors_made_of_a_rank_dependent_int() -> None:
    def program(i: int) -> Any:
        return torch.tensor(i), torch.tensor([i, 7]), torch.as_tensor(i), torch.scalar_tensor(i)

    assert_as_alone(program, each(0, 1, 2, 3))


def test_indexing_with_a_tensor_of_one_int_that_differs() -> None:
    def program(x: Tensor, i: Tensor) -> Any:
        x[i] += 1
        return x[i], x[i, 1], x[i:], x[:, i % 2]

    assert_as_alone(program, shared(4, 2), each(*[torch.tensor(i) for i in range(4)]))


def test_scalars_that_differ_between_ranks() -> None:
    def program(x: Tensor, i: int) -> Any:
        return (
            torch.full_like(x, i),
            x.clone().fill_(i),
            torch.clamp(x, max=i),
            x.masked_fill(x > 0, i),
            torch.add(x, x, alpha=i),
            x == i,
            x < i,
        )

    assert_as_alone(program, shared(4, 2), each(0, 1, 2, 3))


def test_local_tensors_of_different_numbers_of_dimensions_are_refused() -> None:
    with pytest.raises((polyrank.UsageError, polyrank.DivergenceError), match="dimension"):
        polyrank.LocalTensor({0: torch.zeros(2), 1: torch.zeros(2, 2)})


def test_rank_map_of_uneven_tensors() -> None:
    with polyrank.LocalTensorMode(3):
        x = polyrank.rank_map(lambda rank: torch.arange(rank + 1.0))
        total = torch.cat([x, x]).sum()
    assert_each_rank(total, each_rank(lambda rank: torch.arange(rank + 1.0).sum() * 2, 3))


def test_zero_size_on_one_rank_only() -> None:
    def program(x: Tensor) -> Any:
        return x.sum(0), x @ x.t(), x.numel(), x.view(-1, 3), x.amin(1), x.t().contiguous()

    empty, full = torch.ones(0, 3), torch.ones(2, 3)
    assert_as_alone(program, each(empty, full))
    assert_as_alone(program, each(full, empty, full))
    assert_as_alone(program, each(empty, empty))


def test_a_size_of_another_world_is_refused() -> None:
    x = shared(8).on_all_ranks()
    with pytest.raises((polyrank.UsageError, polyrank.DivergenceError), match="rank"):
        x.narrow(0, 0, local_int({10: 1, 11: 2}))
