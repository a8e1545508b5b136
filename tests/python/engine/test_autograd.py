"""Autograd on LocalTensors gives each rank the gradients that it gets alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from oracle.rank_by_rank import num_cohorts
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

operands = pytest.mark.parametrize(
    ("x", "w"),
    [
        (distinct(5, 3, requires_grad=True), shared(3, 4, requires_grad=True, seed=1)),
        (shared(5, 3, requires_grad=True), distinct(3, 4, requires_grad=True, seed=1)),
        (mixed(5, 3, requires_grad=True), distinct(3, 4, requires_grad=True, seed=1)),
        (shared(5, 3, requires_grad=True), shared(3, 4, requires_grad=True, seed=1)),
    ],
    ids=["x distinct", "w distinct", "mixed", "shared"],
)


@operands
def test_backward_fills_grad(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        loss = torch.tanh(x @ w).pow(2).sum()
        loss.backward()
        first = [x.grad.clone(), w.grad.clone()]
        (x * 2).sum().backward()  # accumulates
        return loss, first, x.grad, w.grad

    assert_as_alone(program, x, w)
    assert_as_alone(program, x, w, in_mode=False)


@operands
def test_grad(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        out = functional.softmax(x @ w, dim=-1)
        return torch.autograd.grad(out, [x, w], grad_outputs=torch.ones_like(out) * 2)

    assert_as_alone(program, x, w)


@operands
def test_double_backward(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        out = torch.sigmoid(x @ w).pow(3).sum()
        first = torch.autograd.grad(out, [x, w], create_graph=True)
        penalty = sum(g.pow(2).sum() for g in first)
        return first, torch.autograd.grad(penalty, [x, w])

    assert_as_alone(program, x, w)


def test_gradients_keep_cohorts() -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        return torch.autograd.grad((x @ w).pow(2).sum(), [x, w])

    same = assert_as_alone(
        program, shared(5, 3, requires_grad=True), shared(3, 4, requires_grad=True)
    )
    assert [num_cohorts(g) for g in same] == [1, 1]
    two = assert_as_alone(
        program, mixed(5, 3, requires_grad=True), shared(3, 4, requires_grad=True)
    )
    assert [num_cohorts(g) for g in two] == [2, 2]


def test_leaf_flags() -> None:
    def program(x: Tensor) -> Any:
        y = x * 2
        z = y.detach()
        return (
            x.requires_grad, x.is_leaf, y.requires_grad, y.is_leaf, z.requires_grad, z.is_leaf,
            type(y.grad_fn).__name__, x.grad is None, y.data.requires_grad, z.requires_grad_(),
        )  # fmt: skip

    assert_as_alone(program, distinct(3, requires_grad=True))


def test_results_know_their_grad_fn_as_plain_ones_do() -> None:
    def program(x: Tensor) -> Any:
        return [
            type(y.grad_fn).__name__
            for y in (x + 1, x.view(-1), x.t(), x[0], x.sum(), x.exp(), x.clone(), x @ x.t())
        ]

    assert_as_alone(program, mixed(3, 3, requires_grad=True))


def test_no_grad_and_inference_mode() -> None:
    def program(x: Tensor) -> Any:
        with torch.no_grad():
            y = x * 2
        with torch.inference_mode():
            z = x * 3
        return y.requires_grad, z.is_inference(), y, z.clone()

    assert_as_alone(program, distinct(3, requires_grad=True))


def test_inplace_on_views_and_bases() -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        y = x.clone()
        y[:2].mul_(w[:2])
        y[1:].add_(y[0])
        z = y.t()
        y.mul_(2)
        loss = (z.sigmoid() * y.t()).sum()
        return loss, y, z, torch.autograd.grad(loss, [x, w])

    for x in (shared, mixed, distinct):
        assert_as_alone(
            program,
            x(3, 2, requires_grad=True),
            distinct(3, 2, requires_grad=True, seed=1),
        )


def test_inplace_write_to_a_leaf_is_refused() -> None:
    x = shared(3, requires_grad=True).on_all_ranks()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x.add_(1)


def test_saved_tensor_modified_in_place_is_found() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        hidden = x * 2
        result = hidden.exp()
        result.add_(y)
        try:
            result.sum().backward()
        except RuntimeError as error:
            return "modified by an inplace operation" in str(error), result._version
        return False

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(3, requires_grad=True), distinct(3, seed=1))


def test_version_counters_count_as_for_plain_tensors() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x = x.clone()
        view, detached = x[1:], x.detach()
        versions = [x._version]
        x.add_(1)
        versions.append(x._version)
        view.add_(y[1:])
        versions += [x._version, view._version, detached._version]
        x.data.add_(1)
        detached.mul_(2)
        return versions, x._version, view._version

    for make in (shared, mixed, distinct):
        assert_as_alone(program, shared(3), make(3, seed=1))


def test_a_saved_tensor_survives_a_split_of_its_storage() -> None:
    def program(x: Tensor, w: Tensor, y: Tensor) -> Any:
        buffer = w.detach().clone()
        loss = (x * buffer[:3]).sum()  # saves a view of the buffer
        buffer[3:].copy_(y)  # splits it, beside what was saved; autograd notices the write
        try:
            return torch.autograd.grad(loss, x)
        except RuntimeError as error:
            return "modified by an inplace operation" in str(error)

    assert_as_alone(program, shared(3, requires_grad=True), shared(6, seed=1), distinct(3, seed=2))

    def without_versions(x: Tensor, w: Tensor, y: Tensor) -> Any:
        buffer = w.detach().clone()
        loss = (x * buffer[:3]).sum()
        buffer.data[3:].copy_(y)  # unseen by autograd: the saved part must still be right
        return torch.autograd.grad(loss, x)

    assert_as_alone(
        without_versions, shared(3, requires_grad=True), shared(6, seed=1), distinct(3, seed=2)
    )


def test_a_saved_tensor_sees_unnoticed_writes_of_its_own_rank_only() -> None:
    def program(x: Tensor, w: Tensor, y: Tensor) -> Any:
        loss = (x * w).sum()
        w.data.copy_(y)
        return torch.autograd.grad(loss, x)

    assert_as_alone(program, shared(3, requires_grad=True), shared(3), distinct(3, seed=2))
    assert_as_alone(program, shared(3, requires_grad=True), mixed(3), mixed(3, seed=2))


class Cube(torch.autograd.Function):
    """A custom Function that saves, marks and computes by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad * ctx.scale, None


class AddInPlace(torch.autograd.Function):
    """A custom Function that writes its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        x.add_(y)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Any:  # type: ignore[override]
        return grad, grad * 2


@operands
def test_custom_functions(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        y = AddInPlace.apply(x @ w, w.sum(0))
        z = Cube.apply(y, 0.5)
        first = torch.autograd.grad(z.sum(), [x, w], create_graph=True)
        return z, first, torch.autograd.grad(sum(g.sum() for g in first), [x, w])

    assert_as_alone(program, x, w)


@operands
def test_hooks(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        seen = []
        x.register_hook(lambda g: g * 2)
        hidden = x @ w
        hidden.register_hook(lambda g: seen.append(g.clone()))
        hidden.retain_grad()
        w.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
        hidden.grad_fn.register_hook(lambda _inputs, outputs: seen.append(outputs[0].clone()))
        hidden.pow(2).sum().backward()
        return x.grad, w.grad, hidden.grad, seen

    assert_as_alone(program, x, w)


@operands
def test_saved_tensor_hooks(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (t * 1, t.dtype), lambda s: s[0]):
            loss = torch.sigmoid(x @ w).sum()
        with torch.autograd.graph.save_on_cpu():
            loss = loss + (x @ w).exp().sum()
        return torch.autograd.grad(loss, [x, w])

    assert_as_alone(program, x, w)


@operands
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing(x: Argument, w: Argument, use_reentrant: bool) -> None:
    def block(x: Tensor, w: Tensor) -> Tensor:
        return functional.dropout(torch.tanh(x @ w), 0.5)

    def program(x: Tensor, w: Tensor) -> Any:
        torch.manual_seed(3)
        loss = checkpoint(block, x, w, use_reentrant=use_reentrant).pow(2).sum()
        loss.backward()
        return loss, x.grad, w.grad

    assert_as_alone(program, x, w)


@operands
def test_autocast(x: Argument, w: Argument) -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = x @ w
            loss = (
                functional.softmax(hidden, dim=-1).log().sum()
                + functional.linear(x, w.t()).float().pow(2).sum()
            )
        return hidden, loss, torch.autograd.grad(loss, [x, w])

    result = assert_as_alone(program, x, w)
    assert result[0].dtype == torch.bfloat16


def test_module_training_steps() -> None:
    def program(x: Tensor, y: Tensor, *parameters: Tensor) -> Any:
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3))
        names = [name for name, _ in model.named_parameters()]
        for name, given in zip(names, parameters, strict=True):
            layer, _, field = name.partition(".")
            setattr(model[int(layer)], field, nn.Parameter(given))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return losses, [p.detach() for p in model.parameters()]

    shapes = ((8, 6), (8,), (8,), (8,), (3, 8), (3,))
    parameters = [shared(*shape, seed=i) for i, shape in enumerate(shapes)]
    labels = Argument([torch.tensor([r % 3, 1, 2, 0]) for r in range(4)], range(4))
    assert_as_alone(program, distinct(4, 6, seed=9), labels, *parameters)
    assert_as_alone(program, shared(4, 6, seed=9), labels, *parameters, in_mode=False)


def test_jvp_and_vmap_say_what_is_unsupported_or_are_right() -> None:
    x = distinct(3).on_all_ranks()
    for call in (
        lambda: torch.func.vmap(torch.sin)(x),
        lambda: torch.func.jvp(torch.sin, (x,), (torch.ones_like(x),))[1],
        lambda: torch.func.grad(lambda t: t.sin().sum())(x),
    ):
        try:
            result = call()
        except (polyrank.UnsupportedOpError, NotImplementedError, RuntimeError):
            continue
        assert isinstance(result, polyrank.LocalTensor)


def test_backward_on_another_thread() -> None:
    def program(x: Tensor, w: Tensor) -> Any:
        loss = (x @ w).pow(2).sum()
        thread = threading.Thread(target=loss.backward)
        thread.start()
        thread.join()
        return x.grad, w.grad

    x, w = distinct(5, 3, requires_grad=True), shared(3, 4, requires_grad=True)
    assert_as_alone(program, x, w)
    assert_as_alone(program, x, w, in_mode=False)


def test_gradient_of_mixed_plain_and_local_operands() -> None:
    x = distinct(3, requires_grad=True)
    plain = torch.tensor([1.0, 2.0, 3.0])
    assert_as_alone(lambda x: torch.autograd.grad((x * plain).exp().sum(), x), x)


def test_parameter_of_a_local_tensor() -> None:
    x = mixed(3).on_all_ranks()
    parameter = nn.Parameter(x)
    assert isinstance(parameter, nn.Parameter)
    assert isinstance(parameter, polyrank.LocalTensor)
    (parameter * 2).sum().backward()
    assert isinstance(parameter.grad, polyrank.LocalTensor)
    module = nn.Module()
    module.weight = parameter
    assert [name for name, _ in module.named_parameters()] == ["weight"]


PRODUCTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "prod": torch.prod,
    "along a dimension": lambda x: x.view(2, 3).prod(0, keepdim=True).sum(),
    "in another dtype": lambda x: x.prod(dtype=torch.float64),
    "with zeros": lambda x: (x * (x > 0)).prod() + (x * (x > 0)).cumprod(0).sum(),
    "cumulative": lambda x: x.cumprod(0).sum(),
    "of a product": lambda x: (x.exp().prod() * x.cumprod(0).sum()).sin(),
}


@pytest.mark.parametrize("how", PRODUCTS)
@pytest.mark.parametrize("make", [distinct, shared, mixed])
def test_gradients_of_products_have_the_bits_of_plain_tensors(
    make: Callable[..., Argument], how: str
) -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        PRODUCTS[how](x).backward()
        return x.grad  # type: ignore[return-value]

    for seed in range(5):
        assert_as_alone(program, make(6, requires_grad=True, seed=seed))


@pytest.mark.parametrize("how", PRODUCTS)
def test_gradients_of_products_are_differentiated_again(how: str) -> None:
    start = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def second(x: torch.Tensor) -> torch.Tensor:
        (first,) = torch.autograd.grad(PRODUCTS[how](x), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    alone = second(start.clone().requires_grad_())
    with polyrank.lockstep(2):
        x = polyrank.rank_map(lambda _: start.clone()).requires_grad_()
        found = second(x).on_rank(1).clone()  # type: ignore[attr-defined]
    torch.testing.assert_close(found, alone)
