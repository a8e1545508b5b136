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
        """What add_ours() takes."""
        return own

    def add_ours(self, switch: _C.NameSwitch, prepared: Any) -> None:
        """Have the switch give the owner ours."""
        switch.add_attribute(self._owner, self._name, prepared)

    def add_theirs(self, switch: _C.NameSwitch) -> None:
        """Have the switch give the owner what it had, or nothing of its own."""
        if self._theirs is not _NONE:
            switch.add_attribute(self._owner, self._name, self._theirs)
        else:
            switch.add_no_attribute(self._owner, self._name)
