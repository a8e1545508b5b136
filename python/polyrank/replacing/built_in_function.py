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
        """What add_ours() takes."""
        return own

    def add_ours(self, switch: _C.NameSwitch, prepared: Callable[..., Any]) -> None:
        """Have the switch let calls go to ours, with the instance first if it is a method."""
        switch.add_built_in(self._exchanged, prepared)

    def add_theirs(self, switch: _C.NameSwitch) -> None:
        """Have the switch let the function do what it did."""
        switch.add_built_in(self._exchanged, None)
