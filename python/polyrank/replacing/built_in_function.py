"""Exchanging what a built-in function or method runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyrank import _C

__all__ = ["BuiltInFunction"]


class BuiltInFunction:
    """A function or method of C code, also one that pybind11 made."""

    def __init__(self, function: Any) -> None:
        self._exchanged = _C.ExchangedFunction(function)
        self.original = self._exchanged.original

    def prepared(self, own: Callable[..., Any]) -> Callable[..., Any]:
        """What put() takes."""
        return own

    def put(self, prepared: Callable[..., Any]) -> None:
        """Let calls go to ours, with the instance first if it is a method."""
        self._exchanged.put(prepared)

    def put_back(self) -> None:
        """Let the function do what it did."""
        self._exchanged.put(None)
