"""Lets a script that asks for cuda run on the CPU. docs/run.md lists what is mapped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MEMORY_BYTES = 80 * 2**30  # what a cluster's GPU of today has


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
        return "cpu"
    return value


class CudaOnCpu(TorchFunctionMode):
    """Takes a cuda device for the CPU wherever a function of torch is given one."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        mapped = {name: _on_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*(_on_cpu(value) for value in args), **mapped)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stand in for what has nothing to do on the CPU."""


def _zero(*args: Any, **kwargs: Any) -> int:
    return 0


def _cuda_functions(local_world_size: int) -> dict[str, Callable[..., Any]]:
    """Answers of torch.cuda as on a node with one GPU a rank."""
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: local_world_size,
        "current_device": _zero,
        "set_device": _nothing,
        "synchronize": _nothing,
        "empty_cache": _nothing,
        "reset_peak_memory_stats": _nothing,
        "memory_allocated": _zero,
        "max_memory_allocated": _zero,
        "memory_reserved": _zero,
        "max_memory_reserved": _zero,
        "mem_get_info": lambda *args: (_MEMORY_BYTES, _MEMORY_BYTES),
        "get_device_name": lambda *args: "CPU in place of a GPU",
        "get_device_capability": lambda *args: (9, 0),
        "get_device_properties": lambda *args: SimpleNamespace(
            name="CPU in place of a GPU", total_memory=_MEMORY_BYTES, major=9, minor=0
        ),
        "is_bf16_supported": lambda *args, **kwargs: True,
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
        "get_rng_state": lambda *args: torch.get_rng_state(),
        "set_rng_state": lambda state, *args: torch.set_rng_state(state),
    }


@contextlib.contextmanager
def cuda_on_cpu(local_world_size: int) -> Iterator[None]:
    """Within the block `cuda` means the CPU."""
    functions = _cuda_functions(local_world_size)
    # torch.manual_seed seeds cuda's generators too, and would come back here.
    with contextlib.ExitStack() as stack:
        for name, function in functions.items():
            stack.callback(setattr, torch.cuda, name, getattr(torch.cuda, name))
            setattr(torch.cuda, name, function)
        stack.enter_context(CudaOnCpu())
        yield
