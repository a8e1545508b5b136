"""PyTorch's device-generic machinery on the virtual `cuda`: modules and optimizers of its own databases.

`instantiate_device_type_tests` makes a test of each for the device as PyTorch's own files do; what the
test compares with is the same on the CPU, bit for bit. POLYRANK_SWEEP=1: all samples of all of them.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from oracle.op_samples import clone_exactly
from polyrank.errors import UnsupportedOpError
from polyrank.virtual_gpu import virtual_gpu
from torch import Tensor
from torch.testing._internal.common_device_type import CUDATestBase
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.common_optimizers import optim_db
from torch.utils import _pytree as pytree
from torch_builds import needs_cpu_build

pytestmark = needs_cpu_build

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
NUM_SAMPLES = 100 if SWEEP else 2
# What a virtual GPU refuses by name.
REFUSED = {"SparseAdam": "Sparse tensors can't live on a virtual GPU"}


@pytest.fixture(autouse=True)
def gpus() -> Iterator[None]:
    with virtual_gpu(2):
        yield


@pytest.mark.parametrize("info", module_db, ids=[info.formatted_name for info in module_db])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_modules(info: Any, training: bool) -> None:
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=True, training=training
    )
    for sample in itertools.islice(inputs, NUM_SAMPLES):
        if sample.forward_input is None:
            continue
        made = sample.constructor_input
        torch.manual_seed(0)
        module = info.module_cls(*made.args, **made.kwargs).train(training)
        try:
            cpu = _run_module(module, sample, on_gpu=False)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                _run_module(module, sample, on_gpu=True)
        else:
            _assert_same(cpu, _run_module(module, sample, on_gpu=True))


def _run_module(module: torch.nn.Module, sample: Any, *, on_gpu: bool) -> list[Tensor]:
    """Results, gradients of parameters and inputs, and buffers after a forward and backward."""
    given = (sample.forward_input.args, sample.forward_input.kwargs)
    args, kwargs = _on_gpu(given) if on_gpu else given
    module = copy.deepcopy(module).to("cuda" if on_gpu else "cpu")
    torch.manual_seed(1)
    results = module(*args, **kwargs)
    tensors = [one for one in pytree.tree_leaves(results) if isinstance(one, Tensor)]
    roots = [one for one in tensors if one.requires_grad]
    leaves = [
        one
        for one in [*module.parameters(), *pytree.tree_leaves((args, kwargs))]
        if isinstance(one, Tensor) and one.requires_grad
    ]
    gradients: tuple[Tensor | None, ...] = ()
    if roots:
        seeds = [torch.ones_like(root) for root in roots]
        gradients = torch.autograd.grad(roots, leaves, seeds, allow_unused=True)
    return [*tensors, *(one for one in gradients if one is not None), *module.buffers()]


def _on_gpu(tree: Any) -> Any:
    """A copy on the GPU, in which what is one tensor is still one."""
    moved: dict[int, Tensor] = {}

    def move(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            if id(leaf) not in moved:
                there = clone_exactly(leaf).detach().cuda()
                moved[id(leaf)] = there.requires_grad_(leaf.requires_grad)
            return moved[id(leaf)]
        return torch.device("cuda", 0) if isinstance(leaf, torch.device) else leaf

    return pytree.tree_map(move, tree)


@pytest.mark.parametrize("info", optim_db, ids=[info.name for info in optim_db])
@pytest.mark.parametrize("way", ["for loop", "foreach", "fused"])
def test_optimizers(info: Any, way: str) -> None:
    flags: dict[str, Any] = {}
    if way != "for loop":
        if way not in info.supported_impls:
            pytest.skip(f"PyTorch has no {way} {info.name}")
        flags = {way: True}
    elif "foreach" in info.supported_impls:
        flags = {"foreach": False}
    for sample in info.optim_inputs_func(device="cpu"):
        kwargs = {**sample.kwargs, **flags}
        if "capturable" in kwargs or (way == "foreach" and kwargs.get("differentiable")):
            continue
        with contextlib.suppress(_NotForThisDeviceError):
            cpu = _trained(info, kwargs, "cpu")
            if info.name in REFUSED:
                with pytest.raises(UnsupportedOpError, match=REFUSED[info.name]):
                    _trained(info, kwargs, "cuda")
            else:
                _assert_same(cpu, _trained(info, kwargs, "cuda"))


class _NotForThisDeviceError(Exception):
    """The CPU refuses these settings: there is nothing to compare with."""


def _trained(info: Any, kwargs: dict[str, Any], device: str) -> list[Tensor]:
    """The parameters after three steps."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((4, 3), (5,)) if info.name != "Muon" else ((4, 3), (5, 2))
    parameters = [
        torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes
    ]
    try:
        optimizer = info.optim_cls(parameters, **_settings(kwargs, device))
    except (RuntimeError, ValueError) as error:
        if device == "cpu":
            raise _NotForThisDeviceError from error
        raise

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = sum(((p - 0.5) ** 2).sum() for p in parameters)
        assert isinstance(loss, Tensor)
        loss.backward()
        if info.name == "SparseAdam":
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.grad = parameter.grad.to_sparse()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    return parameters


def _settings(kwargs: dict[str, Any], device: str) -> dict[str, Any]:
    return {
        key: value.to(device) if isinstance(value, Tensor) and value.dim() else value
        for key, value in kwargs.items()
    }


def _assert_same(cpu: list[Tensor], gpu: list[Tensor]) -> None:
    assert len(cpu) == len(gpu)
    for of_cpu, of_gpu in zip(cpu, gpu, strict=True):
        assert of_gpu.is_cuda
        assert torch.equal(of_gpu.detach().cpu(), of_cpu.detach()) or _equal_with_nan(
            of_cpu, of_gpu
        )


def _equal_with_nan(cpu: Tensor, gpu: Tensor) -> bool:
    back, cpu = gpu.detach().cpu(), cpu.detach()
    return bool(
        back.shape == cpu.shape
        and cpu.is_floating_point()
        and torch.equal(back.nan_to_num(7.5), cpu.nan_to_num(7.5))
        and torch.equal(back.isnan(), cpu.isnan())
    )


def test_pytorchs_own_base_class_starts() -> None:
    """What `instantiate_device_type_tests` derives a device's tests from asks torch.cuda a lot."""
    CUDATestBase.setUpClass()
    assert CUDATestBase.get_primary_device() == "cuda:0"
    assert "cuda:1" in CUDATestBase.get_all_devices()
