"""Puts what a PyTorch with CUDA has in Python where it looks for it, and takes it back."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
import torch.cuda
import torch.cuda.nvtx
import torch.cuda.streams
import torch.utils.dlpack
import torch.version
from torch.distributed import distributed_c10d

from polyrank.errors import InternalError
from polyrank.replacing.layers import VIRTUAL_GPU
from polyrank.virtual_gpu.generators import manual_seed, manual_seed_all
from polyrank.virtual_gpu.nccl import DEFAULT_TIMEOUT, ProcessGroupNCCL
from polyrank.virtual_gpu.rank_devices import index_of_ranks_gpu
from polyrank.virtual_gpu.runtime_functions import (
    RUNTIME_FUNCTIONS,
    CudaRuntime,
    DeviceProperties,
    Ranges,
    missing,
)
from polyrank.virtual_gpu.storages import (
    no_foreign_kernels,
    storage_on_gpu,
    storage_resized_on_gpu,
)
from polyrank.virtual_gpu.streams import CudaEventBase, CudaStreamBase
from polyrank.virtual_gpu.tensor_types import TENSOR_TYPES

__all__ = ["placed"]

_CUDA_VERSION = "12.8"
_ABSENT = object()
_cuda_array = vars(torch.Tensor)["__cuda_array_interface__"].fget


@functools.cache
def _stream_module() -> ModuleType:
    """`torch.cuda.streams` once more, whose classes have our bases.

    A class takes its bases when its module is loaded, and torch's is loaded before any of ours.
    """
    source = torch.cuda.streams.__file__
    spec = importlib.util.spec_from_file_location("torch.cuda.streams", source)
    if spec is None or spec.loader is None:
        raise InternalError(f"no module can be loaded from {source}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _replacements() -> list[tuple[Any, str, Any]]:
    """Owner, name, and what stands there while virtual GPUs are on; the bases come first."""
    bases = [
        (torch._C, "_CudaStreamBase", CudaStreamBase),
        (torch._C, "_CudaEventBase", CudaEventBase),
    ]
    with _set(bases):
        streams = _stream_module()
    functions = RUNTIME_FUNCTIONS
    return [
        *bases,
        *((torch._C, name, value) for name, value in functions.items()),
        *(
            (owner, name, getattr(streams, name))
            for owner in (torch.cuda, torch.cuda.streams)
            for name in ("Stream", "Event", "ExternalStream")
        ),
        *((torch.cuda, name, tensor_type) for name, tensor_type in TENSOR_TYPES.items()),
        *(
            (holder, name, index_of_ranks_gpu(original))
            for original in (torch._utils._get_device_index, torch.cuda._utils._get_device_index)
            for holder, name in _holders(original)
        ),
        *(
            (owner, function.__name__, function)
            for owner in (torch.cuda, torch.cuda.random)
            for function in (manual_seed, manual_seed_all)
        ),
        (torch.cuda, "_CudaDeviceProperties", DeviceProperties),
        (torch.cuda, "_get_device_properties", functions["_get_device_properties"]),
        (torch.cuda, "_exchange_device", functions["_cuda_exchangeDevice"]),
        (torch.cuda, "_maybe_exchange_device", functions["_cuda_maybeExchangeDevice"]),
        (torch.cuda, "_cudart", CudaRuntime()),
        (torch.cuda, "_initialized", False),
        (torch.cuda, "_cached_device_count", None),
        (torch.cuda, "default_generators", ()),
        (torch.cuda.nvtx, "_nvtx", Ranges()),
        (vars(torch.cuda.graphs)["_CUDAGraph"], "__new__", missing("graphs of kernels")),
        (torch.version, "cuda", _CUDA_VERSION),
        (torch.UntypedStorage, "__new__", storage_on_gpu(torch.UntypedStorage.__new__)),
        (torch.UntypedStorage, "resize_", storage_resized_on_gpu(torch.UntypedStorage.resize_)),
        (torch.Tensor, "__dlpack__", no_foreign_kernels(torch.Tensor.__dlpack__)),
        (torch.Tensor, "__cuda_array_interface__", property(no_foreign_kernels(_cuda_array))),
        *(
            (owner, name, no_foreign_kernels(getattr(owner, name)))
            for owner, name in ((torch._C, "_to_dlpack"), (torch.utils.dlpack, "to_dlpack"))
        ),
        # Asks no GPU; without cuDNN it warns of a PyTorch that lacks it.
        (torch.backends.cudnn, "is_acceptable", lambda _tensor: False),
        (distributed_c10d, "_NCCL_AVAILABLE", True),
        (distributed_c10d, "default_pg_nccl_timeout", DEFAULT_TIMEOUT),
        *(
            (owner, "ProcessGroupNCCL", ProcessGroupNCCL)
            for owner in (torch._C._distributed_c10d, distributed_c10d, torch.distributed)
        ),
    ]


def _holders(function: Any) -> list[tuple[ModuleType, str]]:
    """Modules that hold a function of torch, each with the name that it has there."""
    return [
        (module, name)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType)
        for name, value in list(vars(module).items())
        if value is function
    ]


@contextlib.contextmanager
def _set(replacements: list[tuple[Any, str, Any]]) -> Iterator[None]:
    held = [(owner, name, vars(owner).get(name, _ABSENT)) for owner, name, _ in replacements]
    for owner, name, value in replacements:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in held:
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@contextlib.contextmanager
def placed() -> Iterator[None]:
    """Until the end of the block torch.cuda's own functions run on virtual GPUs."""
    with _set(_replacements()), VIRTUAL_GPU.on():
        torch.cuda.init()  # type: ignore[no-untyped-call]
        yield
