"""What `torch.cuda` asks of `torch._C`, which a PyTorch without CUDA lacks, for virtual GPUs.

With these in place torch.cuda's own Python runs as it is. Each entry has the signature of the
function of torch/csrc/cuda/Module.cpp that it stands for.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C
from polyrank.errors import UnsupportedOpError
from polyrank.virtual_gpu.generators import DefaultGenerators
from polyrank.virtual_gpu.mesh_device import set_device

__all__ = ["RUNTIME_FUNCTIONS", "CudaRuntime", "DeviceProperties", "Ranges", "missing"]

_CLOCK_HZ = 1_000_000_000  # of `torch.cuda._sleep`, whose unit is the GPU's cycles
_CUDA_VERSION = 12080
_NCCL_VERSION = (2 << 32) | (27 << 16) | 3


class DeviceProperties:
    """As `torch._C._CudaDeviceProperties`."""

    def __init__(self, gpus: _C.VirtualGpus) -> None:
        self.name = gpus.name
        self.major = gpus.major
        self.minor = gpus.minor
        self.total_memory = gpus.memory_bytes
        self.multi_processor_count = gpus.num_multiprocessors
        self.is_integrated = 0
        self.is_multi_gpu_board = 0
        self.max_threads_per_multi_processor = 2048
        self.max_threads_per_block = 1024
        self.regs_per_multiprocessor = 65536
        self.shared_memory_per_block = 49152
        self.shared_memory_per_block_optin = 232448
        self.shared_memory_per_multiprocessor = 233472
        self.warp_size = 32
        self.L2_cache_size = 50 * 2**20
        self.clock_rate = _CLOCK_HZ // 1000
        self.gcnArchName = gpus.name

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name={self.name!r}, major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, "
            f"multi_processor_count={self.multi_processor_count})"
        )


class CudaRuntime:
    """As the module `torch._C._cudart`; nothing can fail."""

    class cudaError:  # noqa: N801  CUDA's name
        """Results of CUDA's functions."""

        success = 0

    @staticmethod
    def cudaGetErrorString(code: int) -> str:  # noqa: N802
        return "no error" if code == 0 else f"error {code}"

    @staticmethod
    def cudaMemGetInfo(device: int) -> tuple[int, int]:  # noqa: N802
        """Free and total bytes."""
        total = _C.virtual_gpus().memory_bytes
        reserved = _memory_stats(device)["reserved_bytes"]["all"]["current"]
        return max(total - reserved, 0), total

    cudaProfilerStart = cudaProfilerStop = staticmethod(lambda: 0)  # noqa: N815
    cudaHostRegister = cudaHostUnregister = staticmethod(lambda *_: 0)  # noqa: N815


class Ranges:
    """As `torch._C._nvtx`: ranges are nested and go nowhere."""

    def __init__(self) -> None:
        self._depth = 0

    def rangePushA(self, message: str) -> int:  # noqa: N802
        self._depth += 1
        return self._depth - 1

    def rangePop(self) -> int:  # noqa: N802
        self._depth -= 1
        return self._depth

    def markA(self, message: str) -> None:  # noqa: N802
        pass

    def rangeStartA(self, message: str) -> int:  # noqa: N802
        return 0

    def rangeEnd(self, range_id: int) -> None:  # noqa: N802
        pass

    def deviceRangeStart(self, message: str, stream: int) -> object:  # noqa: N802
        return object()

    def deviceRangeEnd(self, range_handle: object, stream: int) -> None:  # noqa: N802
        pass


# --- devices ----------------------------------------------------------------------------------


def _init() -> None:
    """Start CUDA: a GPU must be there, and its generators are told to torch.cuda."""
    _C.check_gpu(0)
    torch.cuda.default_generators = DefaultGenerators()  # type: ignore[assignment]


def _exchange_device(gpu: int) -> int:
    previous: int = _C.current_gpu()
    if gpu >= 0:
        _C.set_current_gpu(gpu)
    return previous


def _maybe_exchange_device(gpu: int) -> int:
    return _exchange_device(gpu)  # a function of its own: dynamo tells the two apart


def _get_device_properties(gpu: int) -> DeviceProperties:
    _C.check_gpu(gpu)
    return DeviceProperties(_C.virtual_gpus())


# --- streams ----------------------------------------------------------------------------------


def _default_stream(gpu: int) -> tuple[int, int, int]:
    _, index, device_type = _C.current_gpu_stream(gpu)
    return 0, index, device_type


def _set_stream(stream_id: int, device_index: int, device_type: int) -> None:
    _C.set_current_gpu(device_index)
    _C.set_gpu_stream(stream_id, device_index)


# --- memory -----------------------------------------------------------------------------------


def _memory_stats(gpu: int) -> dict[str, Any]:
    """`torch.cuda.memory_stats`, nested, of the rank that runs; in lockstep of all ranks together, with a warning.

    A program that logs its memory needs no other world for that. Ranks that hold the same share memory, so that no
    figure is one rank's.
    """
    from polyrank.tensor.active_modes import enabled_local_tensor_mode

    mode = enabled_local_tensor_mode()
    if mode is not None and len(mode.ranks) > 1:
        warnings.warn(
            f"the memory of cuda:{gpu} is counted for all {len(mode.ranks)} ranks together in lockstep, where "
            "ranks that hold the same share it. For each rank's own, run the program in processes "
            "(`polyrank run --world processes`).",
            stacklevel=4,
        )
    return _C.gpu_memory_stats(gpu) | {"max_split_size": -1}


def _memory_snapshot(mempool_id: Any = None, include_traces: bool = True) -> dict[str, Any]:
    """`torch.cuda.memory._snapshot`: what is there, without a history of how it came to be."""
    gpus = range(_C.virtual_gpus().count)
    segments = [
        segment | {"device": gpu} for gpu in gpus for segment in _C.gpu_memory_snapshot(gpu)
    ]
    return {
        "segments": segments,
        "device_traces": [[] for _ in gpus],
        "allocator_settings": {},
        "external_annotations": [],
    }


def _no_snapshot(*_: Any) -> Any:
    raise UnsupportedOpError(
        "a virtual GPU keeps no history of its memory; torch.cuda.memory_stats() counts it, and "
        "torch.cuda.memory._snapshot() shows what is there"
    )


def _record_no_history(enabled: str | None, *_: Any) -> None:
    """Let programs ask for a history that they may never look at, and say that there is none."""
    if enabled is not None:
        warnings.warn(
            "a virtual GPU keeps no history of its memory; a snapshot shows what is there alone",
            stacklevel=4,
        )


_ONE_BY_ONE = "PyTorch's operators run one by one; run the program without"


def missing(what: str, remedy: str = _ONE_BY_ONE) -> Callable[..., Any]:
    """A function that refuses: there is no `what`."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise UnsupportedOpError(f"a virtual GPU has no {what}: {remedy}")

    return refuse


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


# Name in torch._C, and what stands there.
RUNTIME_FUNCTIONS: dict[str, Any] = {
    "_has_cuda": True,
    "_has_magma": False,
    "_cuda_init": _init,
    "_cuda_isInBadFork": _always(False),
    "_cuda_getDeviceCount": lambda: _C.virtual_gpus().count,
    "_cuda_getDevice": _C.current_gpu,
    "_cuda_setDevice": set_device,
    "_cuda_exchangeDevice": _exchange_device,
    "_cuda_maybeExchangeDevice": _maybe_exchange_device,
    "_cuda_canDeviceAccessPeer": _always(True),
    "_cuda_getArchFlags": lambda: f"sm_{_C.virtual_gpus().major}{_C.virtual_gpus().minor}",
    "_cuda_getCompiledVersion": _always(_CUDA_VERSION),
    "_cuda_synchronize": lambda: _C.synchronize_gpu(_C.current_gpu()),
    "_cuda_sleep": lambda cycles: time.sleep(cycles / _CLOCK_HZ),
    "_cuda_ipc_collect": _always(None),
    "_cuda_set_sync_debug_mode": _always(None),
    "_cuda_get_sync_debug_mode": _always(0),
    "_get_device_properties": _get_device_properties,
    "_CudaDeviceProperties": DeviceProperties,
    "_cuda_getCurrentStream": _C.current_gpu_stream,
    "_cuda_getCurrentRawStream": lambda gpu: _C.current_gpu_stream(gpu)[0],
    "_cuda_getDefaultStream": _default_stream,
    "_cuda_setStream": _set_stream,
    "_cuda_getStreamFromExternal": _C.gpu_stream_of_handle,
    "_cuda_isCurrentStreamCapturing": _always(False),
    "_cuda_getCurrentBlasHandle": missing("cuBLAS handle"),
    "_cuda_clearCublasWorkspaces": _C.clear_blas_workspaces,
    "_cuda_getCublasWorkspaceSize": _C.blas_workspace_bytes,
    "_cuda_setCublasWorkspaceSize": _C.set_blas_workspace_bytes,
    "_cuda_getCublasLtWorkspaceSize": _C.blas_workspace_bytes,
    "_cuda_getCurrentSolverHandle": missing("cuSOLVER handle"),
    "_cuda_memoryStats": _memory_stats,
    "_cuda_resetPeakMemoryStats": _C.reset_peak_gpu_memory,
    "_cuda_resetAccumulatedMemoryStats": _C.reset_accumulated_gpu_memory,
    "_cuda_emptyCache": _C.empty_gpu_cache,
    "_cuda_setMemoryFraction": _C.set_gpu_memory_fraction,
    "_cuda_getMemoryFraction": _always(1.0),
    "_cuda_getAllocatorBackend": _always("native"),
    "_cuda_hostMemoryStats": _always({}),
    "_cuda_resetPeakHostMemoryStats": _always(None),
    "_cuda_resetAccumulatedHostMemoryStats": _always(None),
    "_cuda_memorySnapshot": _memory_snapshot,
    "_cuda_record_memory_history": _record_no_history,
    "_cuda_record_memory_history_legacy": _no_snapshot,
    "_cuda_cudaCachingAllocator_raw_alloc": missing("raw memory"),
    "_cuda_cudaCachingAllocator_raw_delete": missing("raw memory"),
    "_cuda_cudaCachingAllocator_enable": _always(None),
    "_cuda_cudaCachingAllocator_is_enabled": _always(True),
    "_cuda_cudaHostAllocator": missing("raw memory"),
    "_cuda_customAllocator": missing("allocators of other libraries"),
    "_cuda_changeCurrentAllocator": missing("allocators of other libraries"),
    "_cuda_getAllocator": missing("allocators of other libraries"),
    "_cuda_jiterator_compile_and_launch_kernel": missing("compiler of CUDA's kernels"),
    "_nccl_version": _always(_NCCL_VERSION),
    "_nccl_version_suffix": _always(b""),
}
