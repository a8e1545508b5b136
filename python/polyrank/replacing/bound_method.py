"""Exchanging what a method runs that is bound to its object, as the functions of `random` are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from polyrank import _C
from polyrank.replacing.python_function import code_that_calls, copy_of

__all__ = ["BoundMethod"]


class BoundMethod:
    """One bound method, which modules hold as a function; other objects' methods stay as they are."""

    def __init__(self, method: MethodType) -> None:
        self._method = method
        self._theirs = method.__func__
        self.original = MethodType(method.__func__, method.__self__)

    def prepared(self, own: Callable[..., Any]) -> Callable[..., Any]:
        """What add_ours() takes."""

        @functools.wraps(own)
        def function(_: Any, *args: Any, **kwargs: Any) -> Any:
            return own(*args, **kwargs)

        if not isinstance(self._theirs, FunctionType):
            return function
        like_theirs = copy_of(self._theirs)
        like_theirs.__code__ = code_that_calls(function, self._theirs.__code__)
        return like_theirs

    def add_ours(self, switch: _C.NameSwitch, prepared: Callable[..., Any]) -> None:
        """Have the switch let calls go to ours, without the object."""
        switch.add_bound_method(self._method, prepared)

    def add_theirs(self, switch: _C.NameSwitch) -> None:
        """Have the switch let the method run what it ran."""
        switch.add_bound_method(self._method, self._theirs)
