"""resize_, set_, requires_grad_, detach, .data, attributes and identity of LocalTensors."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import num_cohorts
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

makers = pytest.mark.parametrize("make", [shared, mixed, distinct])


@makers
def test_resize(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        x.resize_(2, 2)
        shrunk = x.clone()
        x.resize_(3, 4).fill_(5)
        x.resize_as_(shrunk)
        return shrunk, x, x.untyped_storage().nbytes()

    assert_as_alone(program, make(3, 2))


@makers
def test_metadata_in_place(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        base = x[:]
        x.t_()
        x.unsqueeze_(0)
        x.transpose_(1, 2)
        x.squeeze_()
        x.as_strided_((2,), (1,), 1)
        x.mul_(3)
        return x, base

    assert_as_alone(program, make(3, 2))


@makers
def test_set(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        y = torch.empty(0)
        y.set_(x)
        z = torch.empty(0).set_(x.untyped_storage(), 1, (2, 2), (2, 1))
        y.add_(1)
        x.set_()
        return y, z, x, x.numel()

    assert_as_alone(program, make(3, 2))


@makers
def test_requires_grad_detach_and_data(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        flags = [x.requires_grad]
        x.requires_grad_()
        flags += [x.requires_grad, x.detach().requires_grad, x.data.requires_grad]
        x.data.mul_(2)
        detached = x.detach()
        detached[0] = 9
        (x * x).sum().backward()
        x.requires_grad = False
        y = (x * 2).detach_()
        return flags, x, x.grad, y, x.requires_grad

    assert_as_alone(program, make(3))


@makers
def test_data_takes_another_shape(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x.data = y
        y.add_(1)
        return x, x.shape, x.is_leaf

    assert_as_alone(program, make(3), shared(2, 2))
    assert_as_alone(program, shared(3, requires_grad=True), make(2, 2, seed=1))


def test_data_takes_shapes_that_differ() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x.data = y
        return x, x.sum(), x * 2

    uneven = each(torch.ones(1), torch.ones(3), torch.ones(0), torch.ones(1))
    assert_as_alone(program, shared(3), uneven)


@makers
def test_grad_assignment(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, g: Tensor) -> Any:
        x.grad = g
        x.grad.mul_(2)
        x.grad = None
        x.grad = g.clone()
        return x.grad, g

    assert_as_alone(program, shared(3, requires_grad=True), make(3, seed=1))


def test_type_and_identity() -> None:
    x = distinct(3).on_all_ranks()
    for made in (x + 1, x.view(-1), x.detach(), x.data, x[0], x.clone(), x.sum(), *x.unbind()):
        assert type(made) is polyrank.LocalTensor
    assert x.add_(1) is x
    out = torch.empty_like(x)
    assert torch.add(x, 1, out=out) is out
    assert x.to("cpu") is x
    assert x.requires_grad_() is x
    assert isinstance(x, Tensor)


def test_python_attributes_stay() -> None:
    x = distinct(3).on_all_ranks()
    x.note = "mine"  # type: ignore[attr-defined]
    assert x.note == "mine"  # type: ignore[attr-defined]
    container = [x.view(3)]
    del x
    assert container[0]._base.note == "mine"


def test_hash_equality_and_containers() -> None:
    x, y = distinct(3).on_all_ranks(), distinct(3).on_all_ranks()
    table = {x: 1, y: 2}
    assert table[x] == 1
    assert len(table) == 2
    assert any(t is x for t in [y, x])


def test_weak_references() -> None:
    x = distinct(3).on_all_ranks()
    reference = weakref.ref(x)
    del x
    gc.collect()
    assert reference() is None


def test_iteration_and_unpacking() -> None:
    def program(x: Tensor) -> Any:
        a, b, c = x
        return a, b, c, [row * 2 for row in x], next(zip(x, x, strict=True))[0]

    assert_as_alone(program, mixed(3, 2))


def test_properties() -> None:
    def program(x: Tensor) -> Any:
        return (
            x.T, x.mT, x.H, x.ndim, x.itemsize, x.nbytes, x.is_leaf, x.layout, x.device,
            x.dtype, x.is_sparse, x.is_quantized, x.is_meta, x.output_nr, x.real,
            x.is_contiguous(), x.get_device(), x.is_pinned(),
        )  # fmt: skip

    assert_as_alone(program, distinct(3, 2))


def test_storage_size_follows_the_ranks() -> None:
    x = distinct(6).on_all_ranks()
    assert x.untyped_storage().nbytes() == 24
    assert x.untyped_storage().size() == 24
    assert x[2:].untyped_storage().nbytes() == 24
    assert num_cohorts(x) == 4


def test_map_of_ranks() -> None:
    x = mixed(3).on_all_ranks()
    tensors = x._local_tensors
    assert sorted(tensors) == [0, 1, 2, 3]
    assert len(tensors) == 4
    assert set(tensors.keys()) == {0, 1, 2, 3}
    assert x._ranks == frozenset(range(4))
    for rank, tensor in tensors.items():
        assert type(tensor) is Tensor
        assert torch.equal(tensor, mixed(3).on_rank(rank))
    assert torch.equal(x._local_tensor_2, mixed(3).on_rank(2))
    with pytest.raises(AttributeError):
        _ = x._local_tensor_9
