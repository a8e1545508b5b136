"""Puts what a PyTorch with CUDA has in Python where it looks for it, and takes it back."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
import torch.cuda
import torch.cuda.nvtx
import torch.cuda.streams
import torch.utils.dlpack
import torch.version

from polyrank.errors import InternalError
from polyrank.replacing.layers import VIRTUAL_GPU, WITHOUT_BYTES
from polyrank.replacing.row import Row
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
    through_the_host,
)
from polyrank.virtual_gpu.streams import CudaEventBase, CudaStreamBase
from polyrank.virtual_gpu.tensor_types import TENSOR_TYPES
from polyrank.virtual_gpu.unused_parts import UNUSED_PARTS

__all__ = ["ROWS", "placed"]

_CUDA_VERSION = "12.8"
_C10D = "torch.distributed.distributed_c10d"
_LACKING = "is lacking, or says that there is none, in a PyTorch without CUDA"
_FOREIGN = "would give a virtual GPU's memory, which is the host's, to another library's kernels"
_NO_POOL = "all of its memory comes from one caching allocator; run the program without"
_RAW = "reads the memory itself, which a virtual GPU may not have"
_BASES = {"_CudaStreamBase": CudaStreamBase, "_CudaEventBase": CudaEventBase}


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
    theirs = {name: vars(torch._C)[name] for name in _BASES}
    vars(torch._C).update(_BASES)
    try:
        spec.loader.exec_module(module)
    finally:
        vars(torch._C).update(theirs)
    return module


def _value(owner: str, name: str, value: Any, *, is_added: bool = False) -> Row:
    """A row for what PyTorch looks up in its owner each time."""
    return Row(owner, name, lambda _: value, _LACKING, is_added=is_added, is_attribute=True)


def _of_stream_module(owner: str, name: str) -> Row:
    return Row(owner, name, lambda _: getattr(_stream_module(), name), _LACKING, is_attribute=True)


def _instead(owner: str, own: Callable[..., Any], name: str = "") -> Row:
    """A row for a function of PyTorch's, which ours takes the place of."""
    return Row(owner, name or own.__name__, lambda _: own, _LACKING)


def _no_cudnn(_tensor: Any) -> bool:
    return False


# What nn.DataParallel and torch.cuda.comm are made of.
_no_copies = missing(
    "copies among the GPUs of one process (nn.DataParallel, torch.cuda.comm)",
    "use DistributedDataParallel, with a rank for each GPU",
)
_COPIES_OF_ONE_PROCESS = (
    "_broadcast",
    "_broadcast_out",
    "_broadcast_coalesced",
    "_scatter",
    "_scatter_out",
    "_gather",
    "_gather_out",
)

ROWS = (
    # What torch._C lacks.
    *(_value("torch._C", name, base) for name, base in _BASES.items()),
    *(
        _value("torch._C", name, value, is_added=not hasattr(torch._C, name))
        for name, value in (RUNTIME_FUNCTIONS | UNUSED_PARTS).items()
    ),
    *(
        _value("torch._C", name, _no_copies, is_added=not hasattr(torch._C, name))
        for name in _COPIES_OF_ONE_PROCESS
    ),
    _value("torch._C._distributed_c10d", "ProcessGroupNCCL", ProcessGroupNCCL, is_added=True),
    # What torch.cuda made of that when it was loaded.
    *(
        _of_stream_module(owner, name)
        for owner in ("torch.cuda", "torch.cuda.streams")
        for name in ("Stream", "Event", "ExternalStream")
    ),
    *(_value("torch.cuda", name, tensor_type) for name, tensor_type in TENSOR_TYPES.items()),
    _value("torch.cuda", "_CudaDeviceProperties", DeviceProperties),
    _value(
        "torch.cuda",
        "_get_device_properties",
        RUNTIME_FUNCTIONS["_get_device_properties"],
        is_added=True,
    ),
    _instead("torch.cuda", RUNTIME_FUNCTIONS["_cuda_exchangeDevice"], "_exchange_device"),
    _instead(
        "torch.cuda", RUNTIME_FUNCTIONS["_cuda_maybeExchangeDevice"], "_maybe_exchange_device"
    ),
    _value("torch.cuda", "_cudart", CudaRuntime()),
    _value("torch.cuda", "_initialized", False),
    _value("torch.cuda", "_cached_device_count", None),
    _value("torch.cuda", "default_generators", ()),
    _value("torch.cuda.nvtx", "_nvtx", Ranges()),
    _value("torch.cuda.graphs:_CUDAGraph", "__new__", missing("graphs of kernels")),
    _value("torch.cuda.graphs", "_graph_pool_handle", missing("graphs of kernels")),
    _value(
        "torch.cuda.graphs",
        "_cuda_isCurrentStreamCapturing",
        RUNTIME_FUNCTIONS["_cuda_isCurrentStreamCapturing"],
    ),
    _value("torch.cuda.memory:_MemPool", "__new__", missing("pools of memory", _NO_POOL)),
    _value("torch.version", "cuda", _CUDA_VERSION),
    # Without cuDNN it warns of a PyTorch that lacks it.
    _instead("torch.backends.cudnn:m", _no_cudnn, "is_acceptable"),
    # What takes a rank's own number for a GPU.
    *(
        Row(owner, "_get_device_index", index_of_ranks_gpu, "takes no number of each rank")
        for owner in ("torch._utils", "torch.cuda._utils")
    ),
    _instead("torch.cuda.random", manual_seed),
    _instead("torch.cuda.random", manual_seed_all),
    # Storages on GPUs, and what nobody may do with their memory.
    Row("torch:UntypedStorage", "__new__", storage_on_gpu, _LACKING, is_attribute=True),
    Row("torch:UntypedStorage", "resize_", storage_resized_on_gpu, _LACKING, is_attribute=True),
    Row("torch:UntypedStorage", "_write_file", through_the_host, _RAW, is_attribute=True),
    Row("torch:UntypedStorage", "_byteswap", no_foreign_kernels, _FOREIGN, is_attribute=True),
    Row("torch:Tensor", "__dlpack__", no_foreign_kernels, _FOREIGN),
    Row("torch:Tensor", "__cuda_array_interface__", no_foreign_kernels, _FOREIGN),
    Row("torch._C", "_to_dlpack", no_foreign_kernels, _FOREIGN),
    # NCCL's name.
    _value(_C10D, "_NCCL_AVAILABLE", True),
    _value(_C10D, "default_pg_nccl_timeout", DEFAULT_TIMEOUT),
    _value(_C10D, "ProcessGroupNCCL", ProcessGroupNCCL, is_added=True),
    _value("torch.distributed", "ProcessGroupNCCL", ProcessGroupNCCL, is_added=True),
)


@contextlib.contextmanager
def placed(*, has_bytes: bool) -> Iterator[None]:
    """Until the end of the block torch.cuda's own functions run on virtual GPUs."""
    with VIRTUAL_GPU.on(), contextlib.nullcontext() if has_bytes else WITHOUT_BYTES.on():
        torch.cuda.init()  # type: ignore[no-untyped-call]
        yield
