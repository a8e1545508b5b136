"""The backends that a program named for its groups, where one stands in for them all.

A lockstep or fake world's groups are PyTorch's "fake" ones or ours, whatever the program asked for, and
PyTorch's own code goes by that. A program that asks gets the name that it gave.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch.distributed as dist

from polyrank.replacing.code_of import calling_file, is_of_library
from polyrank.replacing.row import Row

__all__ = ["ROWS", "forget_names", "name_default_backend"]

# By the group's name; the default group's is what others have that name none.
_named: dict[str, str] = {}
_DEFAULT = ""


def forget_names() -> None:
    """Begin anew, with no name given."""
    _named.clear()


def name_default_backend(backend: str | None) -> None:
    """Begin anew, with what `init_process_group` was told."""
    forget_names()
    _named[_DEFAULT] = "undefined" if backend is None else str(dist.Backend(backend))


def _backend_of(group: dist.ProcessGroup | None) -> str | None:
    """What the program named; None if nothing was."""
    is_default = group is None or group is dist.group.WORLD
    return _named.get(_DEFAULT if is_default else group.group_name, _named.get(_DEFAULT))  # type: ignore[union-attr]


def _wrap_new_group(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def new_group(
        ranks: Any = None, timeout: Any = None, backend: str | None = None, *args: Any, **more: Any
    ) -> Any:
        group = original(ranks, timeout, backend, *args, **more)
        if backend is not None and isinstance(group, dist.ProcessGroup):
            _named[group.group_name] = str(dist.Backend(backend))
        return group

    return new_group


def _wrap_get_backend(original: Callable[..., str]) -> Callable[..., str]:
    @wraps(original)
    def get_backend(group: dist.ProcessGroup | None = None) -> str:
        theirs = original(group)
        named = None if is_of_library(calling_file(2)) else _backend_of(group)
        return theirs if named is None else dist.Backend(named)

    return get_backend


def _wrap_get_backend_config(original: Callable[..., str]) -> Callable[..., str]:
    @wraps(original)
    def get_backend_config(group: dist.ProcessGroup | None = None) -> str:
        theirs = original(group)
        named = None if is_of_library(calling_file(2)) else _backend_of(group)
        if named is None:
            return theirs
        c10d: Any = sys.modules[_C10D]
        return str(c10d.BackendConfig(dist.Backend(named)))

    return get_backend_config


_C10D = "torch.distributed.distributed_c10d"
_WHY = "tells the backend that stands in for the one that the program named"

ROWS = (
    Row(_C10D, "new_group", _wrap_new_group, _WHY),
    Row(_C10D, "get_backend", _wrap_get_backend, _WHY),
    Row(_C10D, "get_backend_config", _wrap_get_backend_config, _WHY),
)
