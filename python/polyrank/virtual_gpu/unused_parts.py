"""What else of `torch._C` a PyTorch with CUDA has: settings that change no value, and what is refused by name.

Tests compare the tables with all that the installed torch's Python asks of `torch._C` by CUDA's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from polyrank import _C
from polyrank.virtual_gpu.runtime_functions import missing

__all__ = ["UNUSED_PARTS"]

# Getter, setter, and what a new process has. PyTorch's own defaults; nothing here is tuned by them.
_SETTINGS: tuple[tuple[str, str, Any], ...] = (
    ("_cuda_tunableop_is_enabled", "_cuda_tunableop_enable", False),
    ("_cuda_tunableop_tuning_is_enabled", "_cuda_tunableop_tuning_enable", True),
    ("_cuda_record_untuned_is_enabled", "_cuda_record_untuned_enable", False),
    (
        "_cuda_tunableop_get_max_tuning_duration",
        "_cuda_tunableop_set_max_tuning_duration",
        30,
    ),
    (
        "_cuda_tunableop_get_max_tuning_iterations",
        "_cuda_tunableop_set_max_tuning_iterations",
        100,
    ),
    ("_cuda_tunableop_get_filename", "_cuda_tunableop_set_filename", ""),
    ("_cuda_tunableop_get_rotating_buffer_size", "_cuda_tunableop_set_rotating_buffer_size", -1),
    ("_cuda_get_cudnn_benchmark_limit", "_cuda_set_cudnn_benchmark_limit", 10),
    ("_cuda_get_conv_benchmark_empty_cache", "_cudnn_set_conv_benchmark_empty_cache", True),
    ("_cuda_getMemoryMetadata", "_cuda_setMemoryMetadata", ""),
)


class AllocatorState:
    """As `torch._C._cuda_CUDAAllocator_AllocatorState`, of which graphs of kernels make some."""


def _kept(getter: str, setter: str, value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    def get() -> Any:
        return value

    def set_(new: Any, *_: Any) -> None:
        nonlocal value
        value = new

    yield getter, get
    yield setter, set_


def _nothing(*_: Any) -> None:
    pass


def _has_memory(gpu: int) -> bool:
    """Whether the GPU was used: whether any of its memory is taken."""
    return bool(_C.gpu_memory_stats(gpu)["reserved_bytes"]["all"]["peak"])


_no_graphs = missing("graphs of kernels")
_no_collectives = missing(
    "collectives of one process (torch.cuda.nccl)",
    "use torch.distributed, with a rank for each GPU",
)

# Name in torch._C, and what stands there.
UNUSED_PARTS: dict[str, Any] = {
    **dict(row for setting in _SETTINGS for row in _kept(*setting)),
    "_cuda_tunableop_get_results": tuple,
    "_cuda_tunableop_get_validators": tuple,
    "_cuda_tunableop_read_file": lambda _name: False,
    "_cuda_tunableop_set_numerical_check_tolerances": _nothing,
    "_cuda_setCublasLtWorkspaceSize": _C.set_blas_workspace_bytes,
    "_cuda_hasPrimaryContext": _has_memory,
    # Not called: the error of memory that runs out tells what holds it.
    "_cuda_attach_out_of_memory_observer": _nothing,
    "_cuda_isHistoryEnabled": lambda: False,
    "_cuda_allocationTraceback": missing("history of its memory"),
    "_host_emptyCache": _nothing,
    "_cuda_CUDAAllocator_AllocatorState": AllocatorState,
    "_cuda_checkPoolLiveAllocations": _no_graphs,
    "_cuda_getCheckpointState": _no_graphs,
    "_cuda_setCheckpointPoolState": _no_graphs,
    **{
        f"_nccl_{name}": _no_collectives
        for name in (
            "unique_id",
            "init_rank",
            "all_reduce",
            "reduce",
            "broadcast",
            "all_gather",
            "reduce_scatter",
        )
    },
}
