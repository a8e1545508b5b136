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


def device_as_asked(options: RunOptions) -> contextlib.AbstractContextManager[None]:
    """A block in which `cuda` is what the options say.

    Where they say nothing that is the machine's GPUs, and if it has none as many virtual ones as a node
    has ranks. A PyTorch that was built for GPUs can't have these: then there is none, unless they say cuda.
    """
    is_built_for_gpus: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    if options.device == "cpu":
        return _no_gpu() if is_built_for_gpus else contextlib.nullcontext()
    if torch.cuda.is_available() or (options.device is None and is_built_for_gpus):
        return contextlib.nullcontext()
    return virtual_gpu(min(options.local_world_size, MOST_GPUS))


@contextlib.contextmanager
def _no_gpu() -> Iterator[None]:
    """As on a machine that has none, for a program that has not asked yet."""
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = ""
    try:
        yield
    finally:
        del os.environ[_VISIBLE]
        if before is not None:
            os.environ[_VISIBLE] = before
