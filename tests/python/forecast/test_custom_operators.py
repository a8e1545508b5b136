"""Operators of a program's own: with a shape function they are forecast; without they are one error."""

from __future__ import annotations

import polyrank
import pytest
import torch
from polyrank.errors import UnsupportedOpError

PACKAGE = "polyrank_forecast_tests"
# As packages have them whose kernels for GPUs were not built: of the CPU alone, or of nothing.
torch.library.define(f"{PACKAGE}::packed", "(Tensor x) -> Tensor")
torch.library.impl(f"{PACKAGE}::packed", "cpu", torch.clone)
torch.library.define(f"{PACKAGE}::opaque", "(Tensor x) -> Tensor")


@torch.library.custom_op(f"{PACKAGE}::scaled", mutates_args=())
def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@torch.library.custom_op(f"{PACKAGE}::logged", mutates_args={"x"})
def logged(x: torch.Tensor) -> None:
    x.zero_()


def call(name: str, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = getattr(getattr(torch.ops, PACKAGE), name)(x)
    return result


@pytest.mark.parametrize("name", ["scaled", "packed", "opaque"])
def test_one_without_a_shape_function_is_an_error_with_the_remedy(name: str) -> None:
    words = rf'^{PACKAGE}::{name} has no shape function.*register_fake\("{PACKAGE}::{name}"\)'
    with polyrank.forecast(), pytest.raises(UnsupportedOpError, match=words):
        call(name, torch.ones(4, device="cuda"))


def test_the_cpus_runs_as_ever_afterwards() -> None:
    assert torch.equal(scaled(torch.ones(2)), torch.full((2,), 2.0))
    with pytest.raises(RuntimeError, match="no fake impl"):
        scaled(torch.ones(2, device="meta"))  # PyTorch's own words


def test_one_that_returns_nothing_needs_none() -> None:
    with polyrank.forecast():
        logged(torch.ones(4, device="cuda"))


def test_one_that_gets_a_shape_function_runs() -> None:
    with polyrank.forecast():
        x = torch.ones(4, device="cuda")
        with pytest.raises(UnsupportedOpError):
            call("packed", x)
        torch.library.register_fake(f"{PACKAGE}::packed", torch.empty_like)
        assert call("packed", x).device == x.device


def test_a_product_of_a_wider_dtype_has_its_shape_function() -> None:
    with polyrank.forecast():
        x = torch.ones(4, 8, device="cuda", dtype=torch.bfloat16)
        wide = torch.mm(x, x.t(), out_dtype=torch.float32)
        assert (wide.dtype, wide.shape) == (torch.float32, (4, 4))
