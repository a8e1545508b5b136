"""The GPUs that a run has: the machine's, virtual ones, or none. docs/run.md says which when."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from polyrank.virtual_gpu import MOST_GPUS, virtual_gpu
from polyrank.worlds.run_options import RunOptions

__all__ = ["device_as_asked"]

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ASK_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"


def device_as_asked(options: RunOptions) -> contextlib.AbstractContextManager[None]:
    """A block in which `cuda` is what the options say.

    Where they say nothing that is the machine's GPUs, and if it has none as many virtual ones as a node
    has ranks. A PyTorch that was built for GPUs can't have these: then there is none, unless they say cuda.
    """
    is_built_for_gpus: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    if options.device == "cpu":
        return _no_gpu() if is_built_for_gpus else contextlib.nullcontext()
    if is_built_for_gpus:
        are_there = options.device is None or _is_gpu_there()
    else:
        are_there = torch.cuda.is_available()  # virtual ones that are on already
    if are_there:
        return contextlib.nullcontext()
    return virtual_gpu(min(options.local_world_size, MOST_GPUS))


def _is_gpu_there() -> bool:
    """Asked of the driver: CUDA's own answer starts CUDA, which ranks that are forked then could not use."""
    with _variable(_ASK_DRIVER, "1"):
        return torch.cuda.is_available()


def _no_gpu() -> contextlib.AbstractContextManager[None]:
    """As on a machine that has none, for a program that has not asked yet."""
    return _variable(_VISIBLE, "")


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """A block in which the environment has it so."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before
