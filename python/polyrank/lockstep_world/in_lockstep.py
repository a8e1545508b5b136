"""What makes of a function of torch one that is ours in a mode and theirs outside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from polyrank.replacing.row import Make
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["in_lockstep", "with_mode"]


def in_lockstep(own: Callable[..., Any]) -> Make:
    """Runs `own` in an enabled mode, and the original outside: also in a thread that is in none."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            run = original if enabled_local_tensor_mode() is None else own
            return run(*args, **kwargs)

        return function

    return make


def with_mode(own: Callable[..., Any]) -> Make:
    """As in_lockstep(), for a function that is given the mode first."""

    @functools.wraps(own)
    def in_the_mode(*args: Any, **kwargs: Any) -> Any:
        return own(enabled_local_tensor_mode(), *args, **kwargs)

    return in_lockstep(in_the_mode)
