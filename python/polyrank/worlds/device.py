"""Lets a script that asks for cuda run on the CPU. docs/run.md lists what is mapped."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.overrides import TorchFunctionMode

from polyrank.replacing.layers import CUDA_ON_CPU
from polyrank.replacing.row import Row
from polyrank.worlds.run_options import RunOptions

__all__ = ["ROWS", "CudaOnCpu", "cuda_as_asked", "uses_cpu_for_cuda"]

_MEMORY_BYTES = 80 * 2**30  # what a cluster's GPU of today has


def _is_index(value: Any) -> bool:
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
        return "cpu"
    return value


def _names_another_device(type: Any, index: Any = None) -> bool:
    return not _is_index(type) and _on_cpu(type) == type


# Functions whose argument there may be a device: `tensor.to(0)`, and what `module.to(0)` calls.
_DEVICE_AT = {torch.Tensor.to: 1, torch._C._nn._parse_to: 0}


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
        if func is torch.device and not _names_another_device(*args, **(kwargs or {})):
            return torch._C.device("cpu")
        mapped = [_on_cpu(value) for value in args]
        options = {name: _on_cpu(value) for name, value in (kwargs or {}).items()}
        # A number alone is a GPU's.
        if _is_index(options.get("device")):
            options["device"] = "cpu"
        at = _DEVICE_AT.get(func, len(mapped))
        if at < len(mapped) and _is_index(mapped[at]):
            mapped[at] = "cpu"
        return func(*mapped, **options)


# What gives the same each time.
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("is_available", "is_initialized", "is_bf16_supported"), True),
    **dict.fromkeys(("set_device", "synchronize", "empty_cache"), None),
    "reset_peak_memory_stats": None,
    **dict.fromkeys(("current_device", "memory_allocated", "max_memory_allocated"), 0),
    **dict.fromkeys(("memory_reserved", "max_memory_reserved"), 0),
    "mem_get_info": (_MEMORY_BYTES, _MEMORY_BYTES),
    "get_device_name": "CPU in place of a GPU",
    "get_device_capability": (9, 0),
}


def _always(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _seed_cpu() -> Callable[[Any], None]:
    is_seeding = False

    def manual_seed(seed: Any) -> None:
        nonlocal is_seeding
        if is_seeding:  # torch.manual_seed seeds cuda too, and so comes back here
            return
        is_seeding = True
        try:
            torch.manual_seed(seed)
        finally:
            is_seeding = False

    return manual_seed


class _Gpus:
    """How many GPUs the node has that the CPU stands for."""

    number = 1


# Answers of torch.cuda as on a node with one GPU a rank.
_CUDA_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _always(value) for name, value in _CONSTANTS.items()},
    "device_count": lambda: _Gpus.number,
    "get_device_properties": lambda *args: SimpleNamespace(
        name="CPU in place of a GPU", total_memory=_MEMORY_BYTES, major=9, minor=0
    ),
    "manual_seed": _seed_cpu(),
    "manual_seed_all": _seed_cpu(),
    "get_rng_state": lambda *args: torch.get_rng_state(),
    "set_rng_state": lambda state, *args: torch.set_rng_state(state),
}


def _mesh_on_cpu(original: Callable[..., None]) -> Callable[..., None]:
    """`DeviceMesh.__init__`: DTensor asks a mesh for its device, not a tensor."""

    @functools.wraps(original)
    def init(self: DeviceMesh, device_type: str, *args: Any, **kwargs: Any) -> None:
        original(self, _on_cpu(device_type), *args, **kwargs)

    return init


def uses_cpu_for_cuda(options: RunOptions) -> bool:
    """Whether cuda means the CPU in this run."""
    if options.device is not None:
        return options.device == "cpu"
    return not torch.cuda.is_available() and _mentions_cuda(options)


def _mentions_cuda(options: RunOptions) -> bool:
    # Mapping devices costs each call of torch a detour, so a script without the word goes without.
    return options.is_module or "cuda" in Path(options.script).read_text(errors="replace")


def cuda_as_asked(options: RunOptions) -> contextlib.AbstractContextManager[None]:
    """A block in which `cuda` means the CPU if the options say so."""
    return (
        cuda_on_cpu(options.local_world_size)
        if uses_cpu_for_cuda(options)
        else contextlib.nullcontext()
    )


def _row(name: str, own: Callable[..., Any]) -> Row:
    return Row("torch.cuda", name, lambda _: own, "asks a GPU, and cuda means the CPU")


ROWS = (
    *(_row(name, own) for name, own in _CUDA_FUNCTIONS.items()),
    Row(
        "torch.distributed.device_mesh:DeviceMesh",
        "__init__",
        _mesh_on_cpu,
        "keeps the device type cuda",
    ),
)


@contextlib.contextmanager
def cuda_on_cpu(local_world_size: int) -> Iterator[None]:
    """Within the block `cuda` means the CPU."""
    _Gpus.number = local_world_size
    with CUDA_ON_CPU.on(), CudaOnCpu():
        yield
