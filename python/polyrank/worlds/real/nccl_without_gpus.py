"""Groups called "nccl" on a machine without GPUs: they take tensors on the CPU, as in all other worlds.

PyTorch refuses such a group there, as does a program under torchrun. One that was written for a cluster is to run
here too: gloo does the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch.distributed as dist

from polyrank.replacing.layers import REAL_RUN
from polyrank.replacing.row import Row
from polyrank.virtual_gpu.nccl import ProcessGroupNCCL

__all__ = ["ROWS", "gloo_for_nccl"]


def gloo_for_nccl() -> contextlib.AbstractContextManager[None]:
    """A block in which groups called "nccl" need no GPU. Enter it where there is none."""
    return REAL_RUN.on()


def _wrap_config(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, backend: str) -> None:  # noqa: N807
        original(self, backend)
        devices = self.device_backend_map
        if "cuda" in devices and str(backend).lower().startswith("nccl"):
            devices.setdefault("cpu", dist.Backend(devices["cuda"]))

    return __init__


def _make_nccl(opts: Any, backend_options: Any = None) -> Any:
    c10d: Any = dist.distributed_c10d
    return c10d._create_nccl_process_group(opts, backend_options)


_C10D = "torch.distributed.distributed_c10d"
_WHY = "needs a GPU"

ROWS = (
    Row(f"{_C10D}:BackendConfig", "__init__", _wrap_config, "knows no NCCL for the CPU"),
    *(  # which a torch without NCCL lacks
        Row(
            owner,
            "ProcessGroupNCCL",
            lambda _: ProcessGroupNCCL,
            _WHY,
            is_added=True,
            is_attribute=True,
        )
        for owner in (_C10D, "torch.distributed")
    ),
    *(
        Row(_C10D, name, lambda _: _make_nccl, _WHY, is_optional=True)
        for name in ("_create_nccl2_process_group", "_create_nccl_lazy_process_group")
    ),
)
