"""Plain tensors met inside a mode hold the same on all ranks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from oracle.rank_by_rank import assert_each_rank, each_rank, local_int, num_cohorts
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("make", "cohorts"), [(shared, 1), (mixed, 2), (distinct, 4)])
def test_reading_one_is_reading_the_same_on_all_ranks(
    make: Callable[..., Argument], cohorts: int
) -> None:
    plain = torch.arange(3.0)
    result = assert_as_alone(lambda x: (x + plain, plain * x, torch.stack([x, plain])), make(3))
    assert [num_cohorts(tensor) for tensor in result] == [cohorts] * 3


def test_ops_on_plain_tensors_alone_give_the_same() -> None:
    plain = torch.arange(3.0)
    with polyrank.LocalTensorMode(4):
        total = plain + plain.sum()
    assert torch.equal(polyrank.reconcile(total), plain + plain.sum())


def test_write_of_the_same_into_one_is_done_once() -> None:
    # PyTorch's simulator adds the ones once for each rank: 4.
    plain = torch.zeros(3)
    with polyrank.LocalTensorMode(4):
        plain.add_(torch.ones(3))
    assert plain.tolist() == [1, 1, 1]


def test_write_of_a_shared_local_tensor_into_one_is_done_once() -> None:
    plain, ones = torch.zeros(3), shared(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        plain.add_(ones)
        plain[1:].mul_(2)
        plain.copy_(plain + ones)
    value = shared(3).on_rank(0)
    expected = value.clone()
    expected[1:].mul_(2)
    assert torch.equal(plain, expected + value)


def test_write_with_scalars_and_without_operands() -> None:
    plain = torch.zeros(3)
    with polyrank.LocalTensorMode(4):
        plain.fill_(2).add_(1)
        plain[0] = 7
        plain.view(3, 1).t()[0, 1] = 8
    assert plain.tolist() == [7, 8, 3]


@pytest.mark.parametrize("make", [mixed, distinct])
def test_write_of_what_differs_is_an_error_that_names_the_remedy(
    make: Callable[..., Argument],
) -> None:
    x = make(3).on_all_ranks()
    for write in (
        lambda plain: plain.add_(x),
        lambda plain: plain.copy_(x),
        lambda plain: torch.add(x, 1, out=plain),
        lambda plain: plain.__setitem__(0, x[0]),
        lambda plain: plain.view(3, 1).t().mul_(x),
    ):
        plain = torch.zeros(3)
        with polyrank.LocalTensorMode(4), pytest.raises(polyrank.DivergenceError) as error:
            write(plain)
        message = str(error.value)
        assert "plain" in message
        assert "LocalTensor" in message
        assert plain.tolist() == [0, 0, 0]


def test_random_write_into_one_with_one_stream_is_done_once() -> None:
    torch.manual_seed(2)
    expected = torch.rand(3)
    plain = torch.zeros(3)
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(2)
        plain.uniform_()
    assert torch.equal(plain, expected)


def test_random_write_into_one_with_streams_that_differ_is_an_error() -> None:
    plain = torch.zeros(3)
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(local_int((1, 2, 3, 4)))
        with pytest.raises(polyrank.DivergenceError):
            plain.uniform_()


def test_write_into_a_view_of_a_plain_tensor() -> None:
    plain = torch.zeros(4)
    with polyrank.LocalTensorMode(2):
        view = plain[1:3]
        view.add_(torch.ones(2))
        detached = plain.detach()
        detached[0] = 9
    assert plain.tolist() == [9, 1, 1, 0]


def test_random_draw_like_a_plain_tensor_is_from_the_stream_of_the_rank() -> None:
    plain = torch.zeros(3)
    torch.manual_seed(5)
    expected = each_rank(lambda _: torch.rand_like(plain), 4)
    with polyrank.LocalTensorMode(4):
        assert_each_rank(torch.rand_like(plain), expected)


LIKE: dict[str, Callable[[Tensor], Tensor]] = {
    "empty_like": lambda plain: torch.empty_like(plain).zero_(),
    "zeros_like": torch.zeros_like,
    "full_like": lambda plain: torch.full_like(plain, 0),
    "new_zeros": lambda plain: plain.new_zeros(3),
    "new_full": lambda plain: plain.new_full((3,), 0),
}


@pytest.mark.parametrize("name", LIKE)
def test_what_is_made_like_a_plain_tensor_can_be_written_rank_by_rank(name: str) -> None:
    plain, x = torch.ones(3), distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        made = LIKE[name](plain)
        assert num_cohorts(made) == 1
        made.add_(x)
    assert_each_rank(made, {rank: distinct(3).on_rank(rank) for rank in range(4)})


def test_scatter_into_what_is_made_like_a_plain_tensor(lockstep: polyrank.LocalTensorMode) -> None:
    with lockstep.disable():
        pieces = list(torch.arange(4.0).chunk(4))
    received = torch.empty_like(pieces[0])
    dist.scatter(received, pieces)
    assert_each_rank(received, {rank: torch.tensor([float(rank)]) for rank in range(4)})


def test_deepcopy_of_a_plain_tensor_in_a_mode_is_plain() -> None:
    plain = torch.ones(3)
    with polyrank.LocalTensorMode(4):
        assert type(copy.deepcopy(plain)) is Tensor


def test_all_reduce_of_a_plain_tensor(lockstep: polyrank.LocalTensorMode) -> None:
    with lockstep.disable():
        plain = torch.tensor([256.0])
    dist.all_reduce(plain)
    assert polyrank.reconcile(plain).tolist() == [1024]


@pytest.mark.parametrize("lockstep", [2], indirect=True)
def test_all_reduce_of_256_on_two_ranks_gives_512(lockstep: polyrank.LocalTensorMode) -> None:
    with lockstep.disable():
        plain = torch.tensor([256])
    dist.all_reduce(plain)
    assert polyrank.reconcile(plain).tolist() == [512]


def test_autograd_over_plain_leaves() -> None:
    weight = torch.ones(3, requires_grad=True)
    x = shared(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        (weight * x).sum().backward()
    assert torch.equal(polyrank.reconcile(weight.grad), shared(3).on_rank(0))


def test_plain_leaf_with_gradients_that_differ_gets_a_local_gradient_or_an_error() -> None:
    weight = torch.ones(3, requires_grad=True)
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        try:
            (weight * x).sum().backward()
        except (polyrank.Error, RuntimeError):
            return
    assert_each_rank(weight.grad, {r: distinct(3).on_rank(r) for r in range(4)})


def test_module_made_before_the_mode_is_the_same_on_all_ranks() -> None:
    module = torch.nn.Linear(3, 2)
    x = distinct(4, 3)
    assert_as_alone(lambda x: module(x).detach(), x)


def test_numpy_and_item_of_plain_tensors_in_a_mode() -> None:
    plain: Tensor = torch.arange(3.0)
    with polyrank.LocalTensorMode(4):
        assert plain.numpy().tolist() == [0, 1, 2]
        assert plain[1].item() == 1.0
        assert bool(plain.sum() == 3)
