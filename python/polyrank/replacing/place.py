"""A name of torch, and what stands there for each choice of worlds that are on."""

from __future__ import annotations

import functools
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any, ClassVar

from polyrank import _C
from polyrank.replacing.attribute import Attribute
from polyrank.replacing.bound_method import BoundMethod
from polyrank.replacing.built_in_function import BuiltInFunction
from polyrank.replacing.held_object import HeldObject
from polyrank.replacing.python_function import PythonFunction
from polyrank.replacing.row import Row

__all__ = ["Place", "place_of"]

Target = PythonFunction | BuiltInFunction | BoundMethod | Attribute | HeldObject

_ABSENT = object()

# What can be exchanged in place, and how.
_EXCHANGED: tuple[tuple[Any, Any], ...] = (
    (FunctionType, PythonFunction),
    (BuiltinFunctionType | MethodDescriptorType, BuiltInFunction),
    (MethodType, BoundMethod),
)


class Place:
    """One function, attribute or object, and the rows that replace it.

    Layers are bits: what a higher one puts in place lies above what a lower one does.
    """

    # Counts changes of rows: what was prepared for a place before one may lack a row.
    num_changes: ClassVar[int] = 0

    def __init__(self, target: Target) -> None:
        self.target = target
        self.rows: dict[int, Row] = {}
        self._prepared: dict[int, Any] = {}  # by the layers of its rows that are on

    def add(self, layer: int, row: Row) -> None:
        """Let a row replace it while its layer is on."""
        if self.rows.setdefault(layer, row) is not row:
            raise ValueError(f"{row} and {self.rows[layer]} are one object, and of one layer")
        self.changed()

    def changed(self) -> None:
        """Prepare anew: its rows are others."""
        self._prepared.clear()
        Place.num_changes += 1

    def add_to(self, switch: _C.NameSwitch, layers: int) -> None:
        """Have the switch put what belongs there while these layers are on."""
        assert not isinstance(self.target, HeldObject)  # noqa: S101
        own = self._own(layers)
        if own:
            self.target.add_ours(switch, self._prepared_for(own))
        else:
            self.target.add_theirs(switch)

    def put_object(self, layers: int) -> None:
        """Put what belongs where an object is held while these layers are on."""
        assert isinstance(self.target, HeldObject)  # noqa: S101
        own = self._own(layers)
        if own:
            self.target.put(self._prepared_for(own))
        else:
            self.target.put_back()
            self._prepared.clear()  # it may be another one the next time

    def _own(self, layers: int) -> int:
        """Those of the layers that replace it."""
        return sum(layer for layer in self.rows if layers & layer)

    def _prepared_for(self, own: int) -> Any:
        """What its target takes while these layers of its rows are on, which may be None."""
        if own not in self._prepared:
            made: Any = self.target.original
            for layer, row in sorted(self.rows.items()):
                if own & layer:
                    made = row.make(made)
            self._prepared[own] = self.target.prepared(made)
        return self._prepared[own]


# By what it is about, so that rows of several worlds meet in one place, under whatever name.
_places: dict[tuple[int, str], Place] = {}


def place_of(row: Row) -> Place | None:
    """The place that a row is about, whose module is loaded; None if torch does not have it."""
    try:
        owner = row.loaded_owner()
    except AttributeError:
        return None
    found = _found(owner, row.name)
    if found is _ABSENT and not row.is_added:
        return None
    if row.is_attribute:
        return _known_or_made((id(owner), row.name), lambda: Attribute(owner, row.name))
    function = _function_in(found)
    for types, kind in _EXCHANGED:
        if isinstance(function, types):
            return _known_or_made((id(function), ""), functools.partial(kind, function))
    if found is _ABSENT or _is_looked_up(found):
        return _known_or_made((id(owner), row.name), lambda: Attribute(owner, row.name))
    return _known_or_made((id(found), ""), lambda: HeldObject(owner, row.name, found))


def _known_or_made(key: tuple[int, str], make: Any) -> Place:
    # What a place is about is never freed: the place holds it.
    if key not in _places:
        _places[key] = Place(make())
    return _places[key]


def _found(owner: Any, name: str) -> Any:
    """What stands under the name, as it stands there; absent too if a class has it from Python's own."""
    if not isinstance(owner, type):
        return vars(owner).get(name, _ABSENT)
    classes = (base for base in owner.__mro__ if name in vars(base))
    base = next(classes, None)
    if base is None or (base.__module__ == "builtins" and base is not owner):
        return _ABSENT
    return vars(base)[name]


def _function_in(found: Any) -> Any:
    if isinstance(found, property):
        return found.fget
    if isinstance(found, MethodType):
        return found
    # static, class and pybind11's methods
    return getattr(found, "__func__", found)


def _is_looked_up(found: Any) -> bool:
    """Whether it is what the interpreter finds by class, or a function of a kind that we can't open."""
    return isinstance(found, WrapperDescriptorType) or (
        callable(found) and not isinstance(found, type)
    )
