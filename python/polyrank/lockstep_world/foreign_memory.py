"""Tensors on memory of another library: ranks can't part in it while anybody else sees it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch

from polyrank import _C

__all__ = ["on_array", "on_file"]

# Of an object that only its owner, here the tensor or an array on it, holds: the owner, the variable
# in the function that asks, and the argument of getrefcount().
_UNSEEN = 3


def _is_seen(array: weakref.ref[Any]) -> bool:
    """Whether somebody besides the tensor on it has the array, or one whose memory it is on."""
    owner = array()
    while owner is not None:
        if sys.getrefcount(owner) > _UNSEEN:
            return True
        base = getattr(owner, "base", None)
        del owner  # who holds the base
        owner = base
        del base
    return False


def on_array(original: Callable[..., Any], data: Any, *args: Any, **kwargs: Any) -> Any:
    """As `torch.from_numpy`. What the program writes to the tensor stands in the array, as ever."""
    result = original(data, *args, **kwargs)
    if isinstance(result, torch.Tensor) and hasattr(data, "__array_interface__"):
        array = weakref.ref(data)
        _C.set_foreign(result, lambda: _is_seen(array))
    return result


def on_file(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """As `torch.from_file`, whose `shared=True` writes to the file."""
    result = original(*args, **kwargs)
    _C.set_foreign(result, lambda: True)
    return result
