"""Every operator of PyTorch's OpInfo database gives on a virtual GPU the CPU's values, bit for bit.

Quick: the first sample in one dtype, with its gradients, also in place and with `out=`. And PyTorch takes
each operator apart as it does on the CPU, so that values agree for all samples.
POLYRANK_SWEEP=1: many samples in every dtype of `SWEEP_DTYPES` that the operator takes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from oracle.op_samples import clone_exactly, first_dtype
from polyrank.virtual_gpu import virtual_gpu
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch_builds import needs_cpu_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.testing._internal.opinfo.core import OpInfo

pytestmark = needs_cpu_build

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
SWEEP_DTYPES = (torch.float32, torch.complex64, torch.int64, torch.bool, torch.bfloat16)
NUM_SAMPLES = 8 if SWEEP else 1

_OPS = [op for op in op_db if op.supported_dtypes("cpu")]

every_op = pytest.mark.parametrize("op", _OPS, ids=[op.full_name for op in _OPS])

# Operator -> what refuses it by name, and why. The list may only shrink.
REFUSED: dict[str, str] = {
    "sparse.mm.reduce": "Could not run 'aten::_sparse_mm_reduce_impl'",
    "sparse.sampled_addmm": "Could not run 'aten::sparse_sampled_addmm'",
    "tensor_split": "to be on cpu",  # as on a GPU
    "to_sparse": "can't live on a virtual GPU",
}

# LAPACK's gelsy gives other bits from call to call, on the CPU as well.
CLOSE = {"linalg.lstsq", "linalg.lstsq.grad_oriented"}

# What these give has no values yet.
UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
}

_CROSSING = {"polyrank._gpu_to_host.default", "polyrank._host_to_gpu.default"}


@pytest.fixture(autouse=True, scope="module")
def gpus() -> Iterator[None]:
    with virtual_gpu(2):
        yield


@every_op
def test_values_are_the_cpus(op: OpInfo) -> None:
    failures = []
    for form, run in _forms(op):
        for sample in _samples(op):
            failure = _failure(op, sample, run)
            if failure is not None:
                failures.append(f"{form}, {sample.input!r:.60}: {failure}")
    if op.full_name in REFUSED:
        assert failures or not SWEEP, "runs now: take it off REFUSED"
        assert all(REFUSED[op.full_name] in failure for failure in failures), failures
    else:
        assert not failures, "\n".join(failures[:5])


@every_op
def test_is_made_of_the_operators_that_the_cpu_makes_it_of(op: OpInfo) -> None:
    if op.full_name in REFUSED:
        pytest.skip(REFUSED[op.full_name])
    sample = next(_samples(op), None)
    if sample is None:
        pytest.skip("has no samples")
    parts = []
    for gpu in (False, True):
        names = _Names()
        outcome = _Outcome(sample, lambda first, a, k: op(first, *a, **k), gpu=gpu, within=names)
        if outcome.error is not None:
            pytest.skip("fails")
        parts.append([name for name in names.seen if name not in _CROSSING])
    assert parts[1] == parts[0]


class _Names(TorchDispatchMode):
    """Names of the operators that run below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def _forms(op: OpInfo) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield "plain", lambda first, args, kwargs: op(first, *args, **kwargs)

    def in_place(first: Any, args: Any, kwargs: Any) -> Any:
        target = first.clone() if first.requires_grad else first
        result = op.inplace_variant(target, *args, **kwargs)
        assert result is target
        return result

    def with_out(first: Any, args: Any, kwargs: Any) -> Any:
        with torch.no_grad():
            shapes = op(first, *args, **kwargs)
            out = pytree.tree_map_only(Tensor, torch.zeros_like, shapes)
            op(first, *args, **kwargs, out=out)
        return out

    if op.inplace_variant is not None:
        yield "in place", in_place
    if op.supports_out:
        yield "out=", with_out


def _samples(op: OpInfo) -> Iterator[Any]:
    supported = op.supported_dtypes("cpu")
    swept = [dtype for dtype in SWEEP_DTYPES if dtype in supported] if SWEEP else []
    for dtype in swept or [first_dtype(op)]:
        requires_grad = op.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
        torch.random.default_generator.manual_seed(20)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 (PyTorch's samples draw from this one)
        samples = op.sample_inputs("cpu", dtype, requires_grad, set_seed=False)
        yield from itertools.islice(samples, NUM_SAMPLES)


def _on_gpu(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        with torch.no_grad():
            moved = _moved_exactly(leaf)
        return moved.detach().requires_grad_(leaf.requires_grad)
    if isinstance(leaf, torch.device) or leaf == "cpu":
        return torch.device("cuda", 0)
    return leaf


def _moved_exactly(tensor: Tensor) -> Tensor:
    """On the GPU with the same strides and offset."""
    if tensor.is_conj():
        return _moved_exactly(tensor.conj()).conj()
    if tensor.is_neg():
        return torch._neg_view(_moved_exactly(torch._neg_view(tensor)))
    if tensor.layout != torch.strided:
        return tensor.cuda()
    storage = tensor.untyped_storage().cuda()
    return torch.empty(0, dtype=tensor.dtype, device="cuda").set_(
        storage, tensor.storage_offset(), tensor.shape, tensor.stride()
    )


class _Outcome:
    """What a program left: results, operands, gradients; or its error."""

    def __init__(
        self,
        sample: Any,
        run: Callable[..., Any],
        *,
        gpu: bool,
        within: contextlib.AbstractContextManager[Any] | None = None,
    ) -> None:
        flat, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        flat = [clone_exactly(leaf) if isinstance(leaf, Tensor) else leaf for leaf in flat]
        if gpu:
            flat = [_on_gpu(leaf) for leaf in flat]
        torch.manual_seed(5)  # seeds the CPU's generator and the GPUs'
        self.error: Exception | None = None
        self.tensors: list[Any] = []
        try:
            with within or contextlib.nullcontext():
                result = run(*pytree.tree_unflatten(flat, spec))
                gradients = self._gradients(_tensors(result), flat)
            self.tensors = [*_tensors(result), *_tensors(flat), *gradients]
        except Exception as error:  # noqa: BLE001 (the GPU must fail where the CPU does)
            self.error = error

    @staticmethod
    def _gradients(results: list[Tensor], flat: list[Any]) -> list[Any]:
        roots = [r for r in results if r.requires_grad and r.grad_fn is not None]
        leaves = [leaf for leaf in _tensors(flat) if leaf.requires_grad]
        if not roots or not leaves:
            return []
        seeds = [torch.ones_like(root) for root in roots]
        return list(torch.autograd.grad(roots, leaves, seeds, allow_unused=True))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _failure(op: OpInfo, sample: Any, run: Callable[..., Any]) -> str | None:
    of_cpu, of_gpu = _Outcome(sample, run, gpu=False), _Outcome(sample, run, gpu=True)
    if of_cpu.error is not None:
        return None if of_gpu.error is not None else f"the CPU alone says: {of_cpu.error}"
    if of_gpu.error is not None:
        return f"{type(of_gpu.error).__name__}: {of_gpu.error}"
    if len(of_cpu.tensors) != len(of_gpu.tensors):
        return "another number of tensors"
    try:
        for cpu, gpu in zip(of_cpu.tensors, of_gpu.tensors, strict=True):
            if op.full_name in CLOSE and cpu is not None and gpu is not None:
                torch.testing.assert_close(gpu.cpu(), cpu)
            else:
                _assert_same_bits(cpu, gpu, has_values=op.full_name not in UNINITIALISED)
    except AssertionError as difference:
        return str(difference)
    return None


def _assert_same_bits(cpu: Tensor | None, gpu: Tensor | None, *, has_values: bool) -> None:
    if cpu is None or gpu is None:
        assert cpu is gpu
        return
    if cpu.is_cuda:  # the sample itself asks for a GPU, if there is one
        assert not has_values or torch.equal(cpu, gpu)
        return
    assert gpu.is_cuda
    back = gpu.detach().cpu()
    assert (back.dtype, back.shape, back.layout) == (cpu.dtype, cpu.shape, cpu.layout)
    assert (gpu.is_conj(), gpu.is_neg()) == (cpu.is_conj(), cpu.is_neg())
    if cpu.layout == torch.strided:
        assert gpu.stride() == cpu.stride()
    assert not has_values or torch.equal(_bits(back), _bits(cpu.detach())), "other values"


def _bits(tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    plain = tensor.resolve_conj().resolve_neg().flatten()
    return torch.empty(plain.shape, dtype=plain.dtype).copy_(plain).view(torch.uint8)
