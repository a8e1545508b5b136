"""The GPU that a DeviceMesh chooses for a rank that has chosen none: that of its LOCAL_RANK."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS", "set_device"]

_of_thread = threading.local()  # has `is_chosen` where the program has chosen a GPU


def set_device(gpu: int) -> None:
    """Make a GPU current, by the program's choice."""
    _C.set_current_gpu(gpu)
    _of_thread.is_chosen = True


def _setup_device(original: Callable[..., Any], mesh: Any) -> Any:
    """`DeviceMesh._setup_world_group_and_device`.

    PyTorch lets it choose until CUDA is started, which a virtual GPU always is: here until the program
    chooses, or has something on one.
    """
    from polyrank.tensor.active_modes import enabled_local_tensor_mode

    is_alone = enabled_local_tensor_mode() is None and "LOCAL_RANK" in os.environ
    if mesh.device_type == "cuda" and _C.virtual_gpus().count and is_alone and not _is_chosen():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return original(mesh)


def _is_chosen() -> bool:
    is_used = any(
        _C.gpu_memory_stats(gpu)["allocation"]["all"]["allocated"]
        for gpu in range(_C.virtual_gpus().count)
    )
    return is_used or getattr(_of_thread, "is_chosen", False)


ROWS = (
    Row(
        "torch.distributed.device_mesh:DeviceMesh",
        "_setup_world_group_and_device",
        with_original(_setup_device),
        "chooses a GPU until CUDA is started, which a virtual one always is",
    ),
)
