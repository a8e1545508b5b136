"""Exchanging an object by going to all who hold it: for what can't be exchanged in place."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import CellType, FunctionType, ModuleType
from typing import Any

from polyrank.replacing.frozen_objects import with_frozen_objects

__all__ = ["HeldObject", "find_holders", "take_back"]

# A module, class, variable of a function, or function's defaults; and where it has the object.
_Holder = tuple[Any, str | int]
_Found = tuple[Any, str | int, Any]  # with the object


class HeldObject:
    """A class or other object, and what holds it.

    Reached are what modules hold under any name, of a class also what classes and functions' defaults
    and closures hold: all that find_holders() found, and modules of torch that took ours from its
    owner afterwards. Not reached are containers and other objects' attributes.
    """

    def __init__(self, owner: Any, name: str, original: Any) -> None:
        self.original = original
        self.holders: list[_Holder] = []
        self._at_home: _Holder = (owner, name)
        self.own: Any = None  # what was put last

    def prepared(self, own: Any) -> Any:
        """What put() takes."""
        return own

    def put(self, prepared: Any) -> None:
        """Put ours wherever theirs is held."""
        self.own = prepared
        for holder, place in (self._at_home, *self.holders):
            _set(holder, place, prepared)

    def put_back(self) -> None:
        """Put theirs back where it was found."""
        for holder, place in (self._at_home, *self.holders):
            _set(holder, place, self.original)
        self.holders = []


def find_holders(objects: Sequence[HeldObject]) -> None:
    """Look for all that hold the originals, once for all of them.

    Cost: a look at all modules; with a class among them at all functions and classes.
    """
    by_id = {id(held.original): held for held in objects}
    for held in objects:
        held.holders = []
    originals = {key: held.original for key, held in by_id.items()}
    classes = {key: value for key, value in originals.items() if isinstance(value, type)}
    found: list[_Found] = []
    if originals:
        found += _holders_in_modules(originals)
    if classes:
        with with_frozen_objects():
            found += _holders_elsewhere(classes)
    for holder, place, original in found:
        by_id[id(original)].holders.append((holder, place))


def take_back(objects: Sequence[HeldObject]) -> None:
    """Put theirs where modules of torch that were loaded since took ours: nothing else of it has it."""
    originals = {id(held.own): held.original for held in objects}
    for module in _modules():
        if _package(module.__name__) == "torch":
            for holder, place, ours in list(_entries(module, vars(module).items(), originals)):
                setattr(holder, str(place), originals[id(ours)])


def _set(holder: Any, place: str | int, value: Any) -> None:
    if isinstance(holder, CellType):
        holder.cell_contents = value
    elif isinstance(holder, FunctionType) and isinstance(place, int):
        defaults = list(holder.__defaults__ or ())
        defaults[place] = value
        holder.__defaults__ = tuple(defaults)
    elif isinstance(holder, dict):
        holder[place] = value
    else:
        setattr(holder, str(place), value)


def _holders_in_modules(originals: dict[int, Any]) -> Iterator[_Found]:
    for module in _modules():
        if _package(module.__name__) != "polyrank":
            yield from _entries(module, vars(module).items(), originals)


def _holders_elsewhere(originals: dict[int, Any]) -> Iterator[_Found]:
    # What classes and functions keep attributes, defaults and variables in.
    inner = {
        id(referrer)
        for referrer in gc.get_referrers(*originals.values())
        if type(referrer) in (dict, tuple, CellType)
    }
    for holder in gc.get_objects():
        kind = type(holder)
        if kind is FunctionType:
            # Ours hold theirs, to call it; what they were made like may have given them its __module__.
            if _package(holder.__globals__.get("__name__")) != "polyrank":
                yield from _in_function(holder, inner, originals)
        # The proxy of a class's dict has one referent: the dict.
        elif (
            issubclass(kind, type)
            and id(holder) not in originals
            and id(gc.get_referents(vars(holder))[0]) in inner
        ):
            yield from _entries(holder, vars(holder).items(), originals)


def _in_function(
    function: FunctionType, inner: set[int], originals: dict[int, Any]
) -> Iterator[_Found]:
    defaults, named, cells = function.__defaults__, function.__kwdefaults__, function.__closure__
    if defaults is not None and id(defaults) in inner:
        yield from _entries(function, enumerate(defaults), originals)
    if named is not None and id(named) in inner:
        yield from _entries(named, named.items(), originals)
    if cells is not None and not inner.isdisjoint(map(id, cells)):
        yield from _variables(function, cells, originals)


def _variables(
    function: FunctionType, cells: tuple[CellType, ...], originals: dict[int, Any]
) -> Iterator[_Found]:
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        # `super()` looks its own class up in one, which has to stay.
        if name != "__class__":
            with contextlib.suppress(ValueError):  # it is empty
                if id(cell.cell_contents) in originals:
                    yield cell, name, cell.cell_contents


def _entries(
    holder: Any, items: Iterable[tuple[Any, Any]], originals: dict[int, Any]
) -> Iterator[_Found]:
    found = [(place, value) for place, value in items if id(value) in originals]
    for place, value in found:
        yield holder, place, value


def _modules() -> Iterator[ModuleType]:
    return (module for module in list(sys.modules.values()) if isinstance(module, ModuleType))


def _package(name: object) -> str:
    return name.partition(".")[0] if isinstance(name, str) else ""
