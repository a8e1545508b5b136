"""What is timed on a GPU, and what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["AttentionTime", "CopyTime", "MatmulTime", "Measured", "measured"]

# Seconds that a call takes once it is warm.
Timer = Callable[[Callable[[], object]], float]

# Of a few waves each, so that both tiles and their starts show: m, n and k.
_MATMULS = [
    (m, n, k)
    for m, n in ((2048, 4096), (4096, 4096), (8192, 4096), (8192, 8192))
    for k in (512, 1024, 2048, 4096, 8192)
]
_SEQUENCES = (512, 1024, 2048, 4096, 8192, 16384)
_TOKENS = 16384  # of all sequences together
_HEADS, _HEAD_SIZE = 16, 128
_KERNELS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
_COPIED = 2**30  # bytes
_BACKWARD = 2.5  # FLOPs of attention's backward, by those of forward: as forecasts count them
_LEAST_OF_FP8 = (8, 9)


@dataclass(frozen=True)
class CopyTime:
    """Bytes that were read and written, or that went between host and GPU."""

    bytes: int
    seconds: float


@dataclass(frozen=True)
class MatmulTime:
    """(m x k) @ (k x n)."""

    math: str  # as the tables name it: "half", "fp8"
    m: int
    n: int
    k: int
    seconds: float

    @property
    def bytes(self) -> int:
        """Of both operands, and of the result in half precision."""
        size = 1 if self.math == "fp8" else 2
        return size * self.k * (self.m + self.n) + 2 * self.m * self.n


@dataclass(frozen=True)
class AttentionTime:
    """FLOPs of causal attention are half of those without a mask."""

    kernel: str  # "flash", "cudnn"
    case: str  # as the tables name it: "causal_forward"
    sequence: int
    flops: float
    seconds: float


@dataclass
class Measured:
    """All that a table is made of."""

    kernel_seconds: float  # of a kernel with next to nothing to do
    memory: CopyTime
    host: CopyTime
    matmuls: list[MatmulTime] = field(default_factory=list)
    attention: list[AttentionTime] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # what the GPU or this torch can't do


def measured(time: Timer, progress: Callable[[str], None]) -> Measured:
    """Time all of it on the current GPU; `progress` is told what comes next."""
    progress("kernels and copies")
    found = _copies(time)
    progress("matmuls")
    for m, n, k in _MATMULS:
        seconds = time(partial(torch.mm, _half(m, k), _half(k, n)))
        found.matmuls.append(MatmulTime("half", m, n, k, seconds))
    progress("matmuls of fp8")
    if torch.cuda.get_device_capability() < _LEAST_OF_FP8:
        found.skipped.append("matmuls of fp8: the GPU has none")
    else:
        found.matmuls += [_fp8_matmul(time, *shape) for shape in _MATMULS]
    for kernel in _KERNELS:
        progress(f"attention, {kernel}")
        try:
            found.attention += [
                one
                for is_causal in (False, True)
                for sequence in _SEQUENCES
                for one in _attention(time, kernel, sequence, is_causal=is_causal)
            ]
        except RuntimeError as error:  # no such kernel
            found.skipped.append(f"attention, {kernel}: {str(error).splitlines()[0]}")
    return found


def _copies(time: Timer) -> Measured:
    source = torch.empty(_COPIED, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    host = torch.empty(_COPIED, dtype=torch.uint8).pin_memory()
    return Measured(
        kernel_seconds=time(torch.empty(1, device="cuda").zero_),
        memory=CopyTime(2 * _COPIED, time(partial(target.copy_, source))),
        host=CopyTime(_COPIED, time(partial(target.copy_, host, non_blocking=True))),
    )


def _half(*shape: int) -> Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def _fp8_matmul(time: Timer, m: int, n: int, k: int) -> MatmulTime:
    one = torch.ones((), device="cuda")
    a, b = (_half(*shape).to(torch.float8_e4m3fn) for shape in ((m, k), (n, k)))
    call = partial(torch._scaled_mm, a, b.t(), one, one, out_dtype=torch.bfloat16)
    return MatmulTime("fp8", m, n, k, time(call))


def _attention(
    time: Timer, kernel: str, sequence: int, *, is_causal: bool
) -> tuple[AttentionTime, AttentionTime]:
    shape = (_TOKENS // sequence, _HEADS, sequence, _HEAD_SIZE)
    query, key, value = operands = [_half(*shape).requires_grad_() for _ in range(3)]
    call = partial(scaled_dot_product_attention, query, key, value, is_causal=is_causal)
    with sdpa_kernel(_KERNELS[kernel]):
        forward = time(call)
        output = call()
    gradient = torch.ones_like(output)
    backward = time(partial(torch.autograd.grad, output, operands, gradient, retain_graph=True))
    flops = 4 * _TOKENS * sequence * _HEADS * _HEAD_SIZE * (0.5 if is_causal else 1.0)
    prefix = "causal_" if is_causal else ""
    return (
        AttentionTime(kernel, f"{prefix}forward", sequence, flops, forward),
        AttentionTime(kernel, f"{prefix}backward", sequence, _BACKWARD * flops, backward),
    )
