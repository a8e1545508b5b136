"""Tensors of a FakeTensorMode on virtual GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import _BypassDispatchCache

from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


def _validate_cache_key(
    original: Callable[..., None], mode: Any, func: Any, args: Any, kwargs: Any
) -> None:
    """Keep no result for `cuda` without an index: it is of the GPU that is current for one rank.

    PyTorch keeps results by their arguments, once a process, and the current GPU is not among them.
    """
    if any(map(_is_current_gpu, (*args, *kwargs.values()))):
        raise _BypassDispatchCache("the current GPU")
    original(mode, func, args, kwargs)


def _is_current_gpu(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda" and value.index is None


ROWS = (
    Row(
        "torch._subclasses.fake_tensor:FakeTensorMode",
        "_validate_cache_key",
        with_original(_validate_cache_key),
        "keeps results on the current GPU, which is another one for each rank",
    ),
)
