"""GPUs for a machine that has none: tensors on `cuda` whose values are the CPU's.

`with polyrank.virtual_gpu(8):` gives the block eight CUDA devices. A tensor on one is of device
`cuda:i` in all that PyTorch and the program see of it; an operator on it is the CPU's operator on the
same bytes, so values are bit for bit those of the program on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from polyrank import _C
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.virtual_gpu.dtensor_random import tracker_of_its_own
from polyrank.virtual_gpu.placing import placed

__all__ = ["MOST_GPUS", "virtual_gpu"]

MOST_GPUS = 120  # as kMaxGpus of devices.h


@functools.cache
def _autograd_started() -> None:
    """Let autograd start while there are no GPUs.

    It starts once, with a thread for each GPU that there is; PyTorch allows no fork of the process from then on to
    take gradients. Those of virtual GPUs are taken on the threads that ask for them.
    """
    with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.enable_grad():
        torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


# PyTorch takes the first that is set.
_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


@contextlib.contextmanager
def _settings_named() -> Iterator[None]:
    """What PyTorch says of wrong settings of its allocator, with the variable that has them."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        name = next((name for name in _SETTINGS if os.environ.get(name)), None)
        if name is None or isinstance(error, UnsupportedOpError):
            raise
        text = str(error).splitlines()[0]
        raise UsageError(f"{name} is {os.environ[name]!r}: {text}") from None


@contextlib.contextmanager
def virtual_gpu(
    count: int = 1,
    *,
    name: str = "polyrank virtual GPU",
    memory_bytes: int = 80 * 2**30,
    capability: tuple[int, int] = (9, 0),
    num_multiprocessors: int = 132,
    has_bytes: bool = True,
) -> Iterator[None]:
    """Give the process `count` virtual GPUs until the end of the block.

    Args:
        count: How many there are; `torch.cuda.device_count()`.
        name: What `torch.cuda.get_device_name()` says.
        memory_bytes: The memory of each, as properties and `mem_get_info` tell it. With bytes nothing
            runs out; without, what does not fit raises torch.OutOfMemoryError as on a GPU.
        capability: The compute capability.
        num_multiprocessors: How many streaming multiprocessors each has.
        has_bytes: Whether tensors have values. Without, operators are their shape functions, and what
            is read of a tensor is a stand-in.

    Raises:
        UsageError: there is a GPU, virtual ones are on already, or an argument makes no sense.
    """
    if torch.cuda.is_available():
        raise UsageError(
            "virtual GPUs are on already; leave that block first"
            if _C.virtual_gpus().count
            else "this machine has a GPU, so that cuda means that one; hide it "
            "(CUDA_VISIBLE_DEVICES=) to try a virtual one"
        )
    description: dict[str, Any] = {
        "count": count,
        "name": name,
        "memory_bytes": memory_bytes,
        "num_multiprocessors": num_multiprocessors,
        "has_bytes": has_bytes,
    }
    try:
        major, minor = capability
        gpus = _C.VirtualGpus(major=major, minor=minor, **description)
    except (TypeError, ValueError):
        got = ", ".join(
            f"{name}={value!r}" for name, value in {**description, "capability": capability}.items()
        )
        raise UsageError(
            f"count is a whole number from 1 to {MOST_GPUS}, memory_bytes and num_multiprocessors "
            "are whole numbers, capability is two of them, name is a text and has_bytes a bool; "
            f"got {got}"
        ) from None
    _autograd_started()
    with _settings_named():
        _C.switch_on_virtual_gpus(gpus)
    _C.set_current_gpu(0)  # and not the one of a block before, of which there may be none now
    try:
        # Work on a GPU switches it off for the thread (devices.h); here it is given back.
        with (
            placed(has_bytes=has_bytes),
            tracker_of_its_own(),
            torch.autograd.set_multithreading_enabled(False),
        ):
            yield
    finally:
        _C.switch_off_virtual_gpus()
