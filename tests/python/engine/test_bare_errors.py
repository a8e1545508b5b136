"""What torch says of numbers that differ between ranks, where it takes one, is told as divergence when it ends the run."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError
from torch.distributed import _local_tensor
from torch.nn import functional as F

WORLD_SIZE = 2

# Formulas of derivatives that compare a number, and functions that take a list of plain ones.
REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "power": (lambda x, n: x.pow(n), r"PowBackward0 \(exponent: .*1 on rank 0, 2 on rank 1"),
    "operator": (lambda x, n: x**n, "PowBackward0"),
    "power of a number": (lambda x, n: (n + 1) ** x, r"PowBackward\d \(self: "),
    "several tensors": (lambda x, n: torch._foreach_pow([x], n)[0], r"one of .*Pow"),
    "among others": (lambda x, n: x * 2 + x.pow(n) * x.exp(), "PowBackward0"),
    "size": (
        lambda x, n: F.interpolate(x, size=n + 3),
        "upsample_nearest1d takes one size for all ranks",
    ),
    "scale": (
        lambda x, n: F.interpolate(x, scale_factor=n * 1.5),
        r"upsample_nearest1d.*scale_factors = ",
    ),
    "scale of an int": (lambda x, n: F.interpolate(x, scale_factor=n), "upsample_nearest1d"),
    "scales": (lambda x, n: F.interpolate(x[None], scale_factor=(n, 2.0)), "upsample_nearest2d"),
    "linear": (
        lambda x, n: F.interpolate(x, scale_factor=n * 1.5, mode="linear"),
        "upsample_linear1d",
    ),
}


def _powers_compare() -> bool:
    """Whether this torch's derivatives of powers compare a number, which no number by rank allows for."""
    number = torch.SymInt(_local_tensor.LocalIntNode({0: 1, 1: 2}))  # type: ignore[arg-type]
    try:
        torch.ones(2, requires_grad=True).pow(number).sum().backward()  # type: ignore[arg-type]
    except RuntimeError as error:
        return "NYI SymInt equality" in str(error)
    return False


needs_powers_that_compare = pytest.mark.skipif(
    not _powers_compare(),
    reason="this torch computes derivatives of powers with each rank's number",
)
POWERS = ("power", "operator", "power of a number", "several tensors", "among others")
CASES = [
    pytest.param(name, marks=needs_powers_that_compare if name in POWERS else ())
    for name in REFUSED
]


def gradients(backward: Callable[[Any, Any], Any]) -> list[torch.Tensor]:
    """Of each rank, for who computes with another number on each."""
    with polyrank.lockstep(WORLD_SIZE):
        x = torch.ones(1, 2, 3, requires_grad=True)
        grad = backward(x, dist.get_rank() + 1)
        return [grad.on_rank(rank) for rank in range(WORLD_SIZE)]


def check_named_or_right(backward: Callable[[Any, Any], Any], text: str) -> None:
    """Some torches' formulas compare the number, which is refused; others compute with it."""
    try:
        of_ranks = gradients(backward)
    except DivergenceError as error:
        assert re.search(text, str(error))
        return
    for rank, grad in enumerate(of_ranks):
        alone = backward(torch.ones(1, 2, 3, requires_grad=True), rank + 1)
        assert torch.equal(grad, alone)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_that_takes_one_number_is_named(name: str) -> None:
    function, text = REFUSED[name]
    with pytest.raises(DivergenceError, match=text), polyrank.lockstep(WORLD_SIZE):
        x = torch.ones(1, 2, 3, requires_grad=True)
        function(x, dist.get_rank() + 1).sum().backward()


@needs_powers_that_compare
def test_gradients_by_torch_autograd_grad_name_it_too() -> None:
    with pytest.raises(DivergenceError, match="PowBackward0"), polyrank.lockstep(WORLD_SIZE):
        x = torch.ones(3, requires_grad=True)
        torch.autograd.grad(x.pow(dist.get_rank() + 1).sum(), x)


@pytest.mark.parametrize("name", POWERS)
def test_derivatives_of_powers_are_named_or_each_ranks(name: str) -> None:
    function, text = REFUSED[name]

    def backward(x: Any, number: Any) -> Any:
        function(x, number).sum().backward()
        return x.grad

    check_named_or_right(backward, f"{text}|one int is needed")


def test_the_assertion_of_another_number_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="my own"), polyrank.lockstep(WORLD_SIZE):
        raise RuntimeError("my own")


SUPPORTED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "power of a tensor": lambda x, n, _: x.pow(torch.tensor(n)),
    "added": lambda x, n, f: torch.add(x, x, alpha=f) + n,
    "subtracted": lambda x, n, f: torch.rsub(x, x, alpha=f) - n,
    "times": lambda x, n, f: n * x / f,
    "modulo": lambda x, _, f: x % f,
    "clamped": lambda x, n, f: x.clamp(f * 0.3, f) + x.clamp(min=n),
    "leaky": lambda x, _, f: F.leaky_relu(x - 1, f * 0.1),
    "elu": lambda x, _, f: F.elu(x - 1, f),
    "softplus": lambda x, n, f: F.softplus(x, beta=f, threshold=n),
    "threshold": lambda x, n, f: F.threshold(x, f * 0.5, n),
    "hardtanh": lambda x, _, f: F.hardtanh(x, -f, f),
    "softshrink": lambda x, _, f: F.softshrink(x, f * 0.3),
    "hardshrink": lambda x, _, f: F.hardshrink(x, f * 0.5),
    "addmm": lambda x, n, f: torch.addmm(x[0], x[0], torch.ones(4, 4), beta=f, alpha=n),
    "addcmul": lambda x, _, f: torch.addcmul(x, x, x, value=f),
    "addcdiv": lambda x, n, _: torch.addcdiv(x, x, x + 1, value=n),
    "filled": lambda x, _, f: x.masked_fill(x > 1, f),
    "where": lambda x, _, f: torch.where(x > 1, x, f),
}


def _forward_and_backward(function: Callable[..., Any], number: Any) -> list[torch.Tensor]:
    x = torch.linspace(0.5, 1.5, 24).view(2, 3, 4).requires_grad_()
    result = function(x, number + 1, 1.0 + number * 0.7)
    result.sum().backward()
    assert x.grad is not None
    return [result.detach(), x.grad]


@pytest.mark.parametrize("name", SUPPORTED)
def test_scalars_that_differ_go_through_derivatives(name: str) -> None:
    alone = [_forward_and_backward(SUPPORTED[name], rank) for rank in range(WORLD_SIZE)]
    with polyrank.lockstep(WORLD_SIZE):
        together: Any = _forward_and_backward(SUPPORTED[name], dist.get_rank())
    for rank in range(WORLD_SIZE):
        for own, expected in zip(together, alone[rank], strict=True):
            assert torch.equal(own.on_rank(rank), expected)


def test_a_number_that_a_loop_may_have_set_is_named() -> None:
    with (
        pytest.raises(DivergenceError, match="differs between ranks: base = "),
        polyrank.lockstep(WORLD_SIZE),
    ):
        for _ in range(WORLD_SIZE):
            base = dist.get_rank()
        decimal.Decimal(base)
