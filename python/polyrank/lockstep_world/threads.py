"""Threads that a program starts in lockstep: they are in its mode, as a rank's threads are the rank's.

PyTorch has a stack of modes for each thread, empty when it starts. Without the program's, a factory gives
a thread what one rank has, and what meets numbers that differ gets one rank's, if any's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import active_modes
from polyrank.tensor.local_tensor_mode import LocalTensorMode

__all__ = ["ROWS"]


def _start(
    start: Callable[..., int],
    function: Callable[..., Any],
    args: Sequence[Any],
    options: Mapping[str, Any] | None = None,
) -> int:
    modes = [m for m in _get_current_dispatch_mode_stack() if isinstance(m, LocalTensorMode)]
    if not modes or not callable(function) or not isinstance(args, tuple):
        return start(function, args) if options is None else start(function, args, options)
    return start(_run, (modes, function, args, options or {}))


def _run(
    modes: Sequence[LocalTensorMode],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    with _in_modes(modes):
        function(*args, **options)


@contextlib.contextmanager
def _in_modes(modes: Sequence[LocalTensorMode]) -> Iterator[None]:
    # One that was left before the thread ran is none of it.
    here = [mode for mode in modes if mode in active_modes()]
    for mode in here:
        torch._C._push_on_torch_dispatch_stack(mode)
    try:
        yield
    finally:
        for _ in here:
            torch._C._pop_torch_dispatch_stack(None)


_WHY = "the thread would be in no mode, and see one rank's values"

ROWS: tuple[Row, ...] = tuple(
    Row("_thread", name, with_original(_start), _WHY) for name in ("start_new_thread", "start_new")
)
