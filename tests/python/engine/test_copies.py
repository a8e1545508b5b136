"""deepcopy, pickle, torch.save and copy_ between plain and local tensors."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import assert_each_rank, num_cohorts, ranks_in_cohorts
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def saved(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def saved_weights_only(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


copiers = pytest.mark.parametrize("copier", [copy.deepcopy, pickled, saved, saved_weights_only])


@copiers
@pytest.mark.parametrize("make", [shared, mixed, distinct])
def test_copies_hold_the_same_in_the_same_cohorts(
    copier: Callable[[Any], Any], make: Callable[..., Argument]
) -> None:
    argument = make(4, 3)
    x = argument.on_all_ranks()
    y = copier(x)
    assert isinstance(y, polyrank.LocalTensor)
    assert ranks_in_cohorts(y) == ranks_in_cohorts(x)
    assert_each_rank(y, {rank: argument.on_rank(rank) for rank in range(4)})
    y.add_(1)
    assert_each_rank(x, {rank: argument.on_rank(rank) for rank in range(4)})


@copiers
def test_copies_of_uneven_tensors(copier: Callable[[Any], Any]) -> None:
    argument = each(torch.ones(2, 3), torch.zeros(0, 3), torch.ones(1, 3), torch.ones(2, 3))
    y = copier(argument.on_all_ranks())
    assert_each_rank(y, {rank: argument.on_rank(rank) for rank in range(4)})


@copiers
def test_copies_of_views_that_share_memory_share_it_again(copier: Callable[[Any], Any]) -> None:
    x = mixed(4, 3).on_all_ranks()
    y, view = copier((x, x.t()[1:]))
    assert not view.is_contiguous()
    y.fill_(7)
    assert view.on_rank(1).tolist() == [[7] * 4] * 2


@copiers
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.bool, torch.int64])
def test_copies_keep_dtype_and_requires_grad(
    copier: Callable[[Any], Any], dtype: torch.dtype
) -> None:
    requires_grad = dtype.is_floating_point or dtype.is_complex
    argument = distinct(3, dtype=dtype, requires_grad=requires_grad)
    y = copier(argument.on_all_ranks())
    assert_each_rank(y, {rank: argument.on_rank(rank) for rank in range(4)})
    assert y.is_leaf


@copiers
def test_copies_of_parameters_and_modules(copier: Callable[[Any], Any]) -> None:
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(mixed(2, 3).on_all_ranks())
    state = copier(module.state_dict())
    assert num_cohorts(state["weight"]) == 2
    parameter = copier(module.weight)
    assert isinstance(parameter, nn.Parameter)
    assert isinstance(parameter, polyrank.LocalTensor)
    assert parameter.requires_grad


def test_deepcopy_of_a_module_and_of_gradients() -> None:
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(mixed(2, 3).on_all_ranks())
    module(distinct(3).on_all_ranks()).sum().backward()
    other = copy.deepcopy(module)
    assert num_cohorts(other.weight) == 2
    assert num_cohorts(other.weight.grad) == 4
    assert other.weight.untyped_storage()._cdata != module.weight.untyped_storage()._cdata


def test_deepcopy_remembers_what_it_copied() -> None:
    x = distinct(3).on_all_ranks()
    first, second = copy.deepcopy([x, x])
    assert first is second


def test_deepcopy_of_what_autograd_made_is_refused_as_for_plain_tensors() -> None:
    x = distinct(3, requires_grad=True).on_all_ranks()
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_copies_inside_a_mode() -> None:
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        results = [copy.deepcopy(x), pickled(x), saved(x), copy.copy(x)]
    for result in results:
        assert_each_rank(result, {rank: distinct(3).on_rank(rank) for rank in range(4)})


def test_plain_tensors_saved_and_loaded_inside_a_mode() -> None:
    plain = torch.arange(6.0).view(2, 3)
    with polyrank.LocalTensorMode(4):
        results = [copy.deepcopy(plain), pickled(plain), saved(plain), saved_weights_only(plain)]
        results += [saved({"weight": nn.Parameter(plain)})["weight"].detach()]
    for result in results:
        assert torch.equal(polyrank.reconcile(result), plain)


# --- copy_ and assignment between plain and local tensors ---------------------------------------


def test_copy_of_a_plain_tensor_into_a_local_one() -> None:
    for make in (shared, mixed, distinct):
        x, plain = make(3).on_all_ranks(), torch.arange(3.0)
        x.copy_(plain)
        assert_each_rank(x, dict.fromkeys(range(4), plain))
        plain.zero_()
        assert x.on_rank(0).tolist() == [0, 1, 2]


def test_copy_of_a_local_tensor_into_a_plain_one() -> None:
    plain = torch.zeros(3)
    plain.copy_(shared(3).on_all_ranks())
    assert torch.equal(plain, shared(3).on_rank(0))
    with pytest.raises(polyrank.DivergenceError):
        plain.copy_(distinct(3).on_all_ranks())


def test_copy_converts() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x.copy_(y)
        x[1:].copy_(y[:-1])
        return x

    assert_as_alone(program, shared(3, dtype=torch.int32), distinct(3))
    assert_as_alone(program, mixed(3, dtype=torch.complex64), shared(3))
    assert_as_alone(lambda x, y: x.copy_(y), distinct(2, 3), distinct(3))


def test_load_state_dict() -> None:
    module, source = nn.Linear(3, 2), nn.Linear(3, 2)
    module.weight = nn.Parameter(mixed(2, 3).on_all_ranks())
    module.bias = nn.Parameter(shared(2).on_all_ranks())
    module.load_state_dict(source.state_dict())
    assert torch.equal(polyrank.reconcile(module.weight), source.weight.detach())
    source.load_state_dict(module.state_dict())


def test_conversion_with_copy() -> None:
    def program(x: Tensor) -> Any:
        copied = x.to(x.dtype, copy=True)
        copied.add_(1)
        return x, copied, torch.clone(x), x.contiguous() is x

    assert_as_alone(program, distinct(3))
    assert_as_alone(program, shared(3))


def test_tensor_of_a_local_tensor() -> None:
    x = mixed(3).on_all_ranks()
    for made in (torch.as_tensor(x), x.clone().detach(), x.to("cpu", torch.float64)):
        assert isinstance(made, polyrank.LocalTensor)
        assert num_cohorts(made) == 2
