"""Exchanging what stands under a name, for names that are looked up in their owner alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyrank import _C

__all__ = ["Attribute"]

_NONE = object()  # the owner itself does not have the name


class Attribute:
    """A name that a class has, inherits, or lacks, or that a module lacks (`original`: None)."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name
        self._theirs = vars(owner).get(name, _NONE)
        self.original: Callable[..., Any] | None = getattr(owner, name, None)

    def prepared(self, own: Any) -> Any:
        """What put() takes."""
        return own

    def put(self, prepared: Any) -> None:
        """Let the owner have ours."""
        _C.set_class_attribute(self._owner, self._name, prepared)

    def put_back(self) -> None:
        """Let the owner have what it had, or nothing of its own."""
        if self._theirs is not _NONE:
            _C.set_class_attribute(self._owner, self._name, self._theirs)
        elif self._name in vars(self._owner):
            _C.delete_class_attribute(self._owner, self._name)
