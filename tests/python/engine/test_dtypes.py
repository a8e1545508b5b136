"""Complex, bool, integer, half and float8 dtypes; quantized tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from oracle.rank_by_rank import assert_each_rank
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = [
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128,
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
]  # fmt: skip
makers = pytest.mark.parametrize("make", [shared, mixed, distinct])


@makers
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_common_operators(make: Callable[..., Argument], dtype: torch.dtype) -> None:
    def program(x: Tensor) -> Any:
        y = x.clone()
        y[0] = 1
        results = [y, x == y, x.sum(), x.view(-1), torch.cat([x, y]), x.t().contiguous(), x * y]
        if dtype != torch.bool:
            results += [x + y, x - y, x.add_(y)]
        if not dtype.is_complex:
            results += [x.max(), x.sort().values, x < y]
        return (
            results,
            x.to(torch.complex64),
            x.to(torch.float32) if not dtype.is_complex else x.real,
        )

    assert_as_alone(program, make(3, 2, dtype=dtype))


@makers
def test_type_promotion(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, i: Tensor, b: Tensor) -> Any:
        return x + i, i + 1.5, b + i, i / 2, x.half() + x, i * True, b & (i > 2), i + 2

    assert_as_alone(program, make(3), make(3, dtype=torch.int64), make(3, dtype=torch.bool, seed=1))


@makers
def test_complex_views(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        conjugate = x.conj()
        real = torch.view_as_real(x)
        x.mul_(y)
        x.imag.add_(1)
        return (
            x, conjugate, conjugate.is_conj(), conjugate.resolve_conj(), real, x.real, x.abs(),
            conjugate * y, conjugate.imag, conjugate.imag.is_neg(), x.mH, x.angle(),
        )  # fmt: skip

    assert_as_alone(
        program, shared(3, 3, dtype=torch.complex64), make(3, 3, dtype=torch.complex64, seed=1)
    )


@makers
def test_write_through_a_conjugate_view(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x.conj().copy_(y)
        x.conj()[0] = 2 + 1j
        return x

    assert_as_alone(
        program, shared(3, dtype=torch.complex64), make(3, dtype=torch.complex64, seed=1)
    )


@makers
def test_complex_autograd(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        loss = (x.conj() * x).real.sum() + x.exp().abs().sum() + torch.fft.fft(x).abs().sum()
        return loss, torch.autograd.grad(loss, x)

    assert_as_alone(program, make(4, dtype=torch.complex64, requires_grad=True))


@makers
def test_float8(make: Callable[..., Argument]) -> None:
    def program(x: Tensor) -> Any:
        y = x.to(torch.float8_e4m3fn)
        return y, y.float(), y.view(torch.uint8), y[1:].clone()

    assert_as_alone(program, make(4))


@makers
def test_bit_views(make: Callable[..., Argument]) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        bits = x.view(torch.int32)
        x.copy_(y)
        bits.bitwise_xor_(1)
        return x, bits, x.view(torch.uint8), x.view(torch.int16)[::2]

    assert_as_alone(program, shared(4), make(4, seed=1))


def test_quantized_is_right_or_refused() -> None:
    x = distinct(3).on_all_ranks()
    try:
        result = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8).dequantize()
    except polyrank.UnsupportedOpError:
        return
    expected = {
        r: torch.quantize_per_tensor(distinct(3).on_rank(r), 0.1, 10, torch.quint8).dequantize()
        for r in range(4)
    }
    assert_each_rank(result, expected)


def test_nested_tensor_is_right_or_refused() -> None:
    x, y = distinct(3, 2).on_all_ranks(), distinct(2, 2).on_all_ranks()
    with pytest.raises((polyrank.UnsupportedOpError, NotImplementedError, RuntimeError)):
        torch.nested.nested_tensor([x, y])


def test_channels_last() -> None:
    def program(x: Tensor) -> Any:
        y = x.to(memory_format=torch.channels_last)
        return (
            y, y.is_contiguous(memory_format=torch.channels_last), y.is_contiguous(),
            torch.nn.functional.conv2d(y, torch.ones(2, 3, 1, 1)), torch.empty_like(y).stride(),
        )  # fmt: skip

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(2, 3, 4, 4))
