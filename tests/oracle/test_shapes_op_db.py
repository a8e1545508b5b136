"""Operators on GPUs without bytes give what FakeTensorMode gives for cuda: shapes, strides, dtypes,
devices, the size of their storages, and which results share the memory of which operands.

For every operator of PyTorch's OpInfo database that CUDA has, the first sample in one dtype.
POLYRANK_SWEEP=1: eight samples.
"""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from oracle.op_samples import first_dtype
from polyrank.virtual_gpu import virtual_gpu
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.testing._internal.opinfo.core import OpInfo

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
NUM_SAMPLES = 8 if SWEEP else 1

_OPS = [op for op in op_db if op.supported_dtypes("cpu") and op.supported_dtypes("cuda")]

# Operator -> why it differs, or is left out. The list may only shrink.
DIFFERS = {
    "geqrf": "has no shape function: a FakeTensorMode runs the kernel of the CPU on zeros",
}


@pytest.fixture(autouse=True, scope="module")
def gpus() -> Iterator[None]:
    with virtual_gpu(1, has_bytes=False):
        yield


@pytest.mark.parametrize("op", _OPS, ids=[op.full_name for op in _OPS])
def test_results_are_those_of_fake_tensors(op: OpInfo) -> None:
    failures = list(_failures(op))
    if op.full_name in DIFFERS:
        assert failures or not SWEEP, "is the same now: take it off DIFFERS"
    else:
        assert not failures, "\n".join(failures[:3])


def _failures(op: OpInfo) -> Iterator[str]:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (PyTorch's samples draw from this one)
    torch.random.default_generator.manual_seed(20)
    for sample in itertools.islice(op.sample_inputs("cpu", first_dtype(op)), NUM_SAMPLES):
        fakes = _described(op, sample, is_fake=True)
        if isinstance(fakes, Exception):
            continue  # fake tensors can't tell
        for _ in range(2):  # the second time from what is remembered of the first
            ours = _described(op, sample, is_fake=False)
            if ours != fakes:
                yield f"{sample.input!r:.60}: {ours} is not {fakes}"


def _described(op: OpInfo, sample: Any, *, is_fake: bool) -> Any:
    """Geometry of each result, and the operand that it shares its storage with."""
    flat, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    try:
        if is_fake:
            with FakeTensorMode():
                return _run(op, [_on_gpu(leaf) for leaf in flat], spec)
        return _run(op, [_on_gpu(leaf) for leaf in flat], spec)
    except Exception as error:  # noqa: BLE001 (whatever the operator raises)
        return error


def _run(op: OpInfo, flat: list[Any], spec: Any) -> list[Any]:
    first, args, kwargs = pytree.tree_unflatten(flat, spec)
    results = pytree.tree_leaves(op(first, *args, **kwargs))
    operands = [leaf for leaf in flat if isinstance(leaf, Tensor)]
    return [_geometry(one, operands) if isinstance(one, Tensor) else type(one) for one in results]


def _geometry(tensor: Tensor, operands: list[Tensor]) -> Any:
    storage = tensor.untyped_storage()
    shared = [i for i, one in enumerate(operands) if one.untyped_storage()._cdata == storage._cdata]
    layout = (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device.type)
    return *layout, storage.nbytes(), shared


def _on_gpu(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="cuda")
    return _device(leaf)


def _device(leaf: Any) -> Any:
    return torch.device("cuda", 0) if isinstance(leaf, torch.device) or leaf == "cpu" else leaf
