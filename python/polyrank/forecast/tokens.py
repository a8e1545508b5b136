"""How many tokens a rank takes in a step, as the program's own embedding shows."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["TokenCount", "Tokens"]

_BATCH_AND_LENGTH = 2  # dimensions


@dataclass(frozen=True)
class Tokens:
    """What one rank takes in a step."""

    count: int
    source: str  # who says so


class TokenCount:
    """Counts what the first embedding that is given integers of (batch, length) is given.

    That is the embedding of tokens: of positions there is one row, or it comes later. Forwards that
    a backward runs once more do not count.
    """

    def __init__(self) -> None:
        self._embedding: Callable[[], nn.Module | None] = lambda: None
        self._name = ""
        self._trained: list[int] = []  # in this step, of each forward with gradients
        self._all: list[int] = []  # of each forward so far
        self._last: list[int] = []  # of the last whole step
        self._is_clear = True

    def module_runs(self, module: nn.Module, args: Any, name: Callable[[], str]) -> None:
        """A module is about to run; `name` gives its path."""
        if not isinstance(getattr(module, "num_embeddings", None), int):
            return
        if torch._C._current_graph_task_id() >= 0:
            return
        size = _size_of(args)
        if self._embedding() is None and not self._name and size is not None:
            self._embedding = weakref.ref(module)
            self._name = name()
        if module is not self._embedding():
            return
        if size is None:
            self._is_clear = False
            return
        self._all.append(size)
        if torch.is_grad_enabled():
            self._trained.append(size)

    def end_step(self) -> None:
        """A step of training ends."""
        self._last, self._trained = self._trained, []

    def tokens(self, *, has_steps: bool) -> Tokens | None:
        """Of the last step, or of the whole run if it has none; None: the program does not say."""
        counted = self._last if has_steps else self._all
        if not counted or not self._is_clear:
            return None
        many = "" if len(counted) == 1 else f" in {len(counted):,} forwards"
        return Tokens(sum(counted), f"what {self._name or 'the embedding'} is given{many}")


def _size_of(args: Any) -> int | None:
    """How many, if the first argument is integers of (batch, length); of a DTensor its own part."""
    given = args[0] if isinstance(args, tuple) and args else None
    if not isinstance(given, torch.Tensor):
        return None
    own = getattr(given, "_local_tensor", given)
    is_integer = not (own.is_floating_point() or own.is_complex() or own.dtype == torch.bool)
    return own.numel() if is_integer and own.dim() == _BATCH_AND_LENGTH else None
