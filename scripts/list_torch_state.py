#!/usr/bin/env python3
"""Lists what of the installed torch is mutable and one per process, and whose it is where ranks are threads.

Walks all modules of torch: globals that functions rebind, containers that functions change, attributes
of classes and modules that functions set, objects whose methods change them, caches of functools,
defaults, closures and attributes of functions, and the setters of its C++ part.
NOTE [State of torch] in rank_threads/own_state.py says what the tables are.

With --check: names what is in no table, and rows that name nothing.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dis
import functools
import gc
import importlib
import io
import pkgutil
import sys
import warnings
import weakref
from collections.abc import Iterator
from enum import Enum
from fnmatch import fnmatchcase
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from polyrank.rank_threads.own_state import FORGOTTEN_CACHES, OWN_STATE
from polyrank.rank_threads.shared_state import NOT_IN_EVERY_TORCH, SHARED_STATE, Shared
from polyrank.rank_threads.torch_globals import ROWS

# What is no part of a program's torch: tests, and what starts or measures something when imported.
LEFT_OUT = (
    "torch.testing._internal",
    "torch.utils.benchmark",
    "torch.utils.bottleneck",
    "torch.utils.model_dump",
    "torch.utils.tensorboard",
    "torch.utils.viz",
    "torch._dynamo.repro",
)
CONTAINERS = (
    dict,
    list,
    set,
    collections.deque,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
)
# Methods that change what a container holds.
CHANGING = frozenset(
    (
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "move_to_end",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "setdefault",
        "update",
    )
)
STORES = frozenset(
    dis.opmap[name]
    for name in ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "STORE_DEREF")
)
CHANGES_ENTRIES = frozenset((dis.opmap["STORE_SUBSCR"], dis.opmap["DELETE_SUBSCR"]))
CACHE = type(functools.cache(lambda: None))
OF_PYTHON = frozenset(("repr_running", "_field_defaults"))  # of each dataclass, each named tuple
BEFORE_USE = frozenset(("__init__", "__new__", "__post_init__", "__init_subclass__"))


def import_all() -> None:
    """Load each module of torch that can be loaded here."""
    for found in pkgutil.walk_packages(torch.__path__, "torch.", onerror=lambda _: None):
        if found.name in sys.modules or found.name.startswith(LEFT_OUT) or "__main__" in found.name:
            continue
        with (
            contextlib.suppress(BaseException),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            importlib.import_module(found.name)


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def name_of(owner: Any) -> str | None:
    """As the tables name a module or class."""
    if isinstance(owner, ModuleType):
        return owner.__name__
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else None


class Inventory:
    """What was found: kinds by name."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.types: dict[str, str] = {}  # of objects, by their names
        self._functions = [
            function
            for function in gc.get_objects()
            if type(function) is FunctionType  # and no proxy that says so
            and (function.__module__ or "").partition(".")[0] == "torch"
            and "__name__" in function.__globals__
        ]
        self._changed_names: set[str] = set()  # in code that changes entries of something
        self._changing_methods: set[str] = set()  # names of functions that set attributes of `self`
        self._seen: set[int] = set()

    def take(self) -> dict[str, str]:
        """Look everywhere."""
        for function in self._functions:
            for code in codes(function.__code__):
                self._look_at_code(function, code)
        for function in self._functions:
            self._look_at_function(function)
        for name, module in sorted(sys.modules.items()):
            if name.partition(".")[0] == "torch" and isinstance(module, ModuleType):
                self._look_at_owner(name, module)
        for name in dir(torch._C):
            if name.startswith(("_set_", "set_")):
                self._add(f"torch._C.{name}", "setter")
        return self.found

    def _add(self, name: str, kind: str) -> None:
        # Classes that functions make, and functions of C++, are under no name.
        is_named = ".." not in name and "pybind11" not in name
        if is_named and name.startswith("torch") and not name.startswith(LEFT_OUT):
            self.found.setdefault(name, kind)

    def _look_at_code(self, function: FunctionType, code: CodeType) -> None:
        operations = set(code.co_code[::2])
        names = set(code.co_names)
        if names & CHANGING or operations & CHANGES_ENTRIES:
            self._changed_names |= (names | set(code.co_freevars)) - OF_PYTHON
        if not operations & STORES:
            return
        instructions = list(dis.get_instructions(code))
        for index, instruction in enumerate(instructions):
            name = instruction.argval
            if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                self._add(f"{function.__globals__['__name__']}.{name}", "rebound")
            elif instruction.opname in ("STORE_ATTR", "DELETE_ATTR"):
                self._look_at_set(function, instructions, index)

    def _look_at_set(self, function: FunctionType, before: list[dis.Instruction], at: int) -> None:
        """See of what an attribute is set."""
        path = [before[at].argval]
        at -= 1
        while at > 0 and before[at].opname == "LOAD_ATTR":
            path.insert(0, before[at].argval)
            at -= 1
        first = before[at]
        if first.opname == "LOAD_FAST" and first.argval == "self" and len(path) == 1:
            if function.__name__ not in BEFORE_USE:
                self._changing_methods.add(f"{function.__module__}.{function.__qualname__}")
        elif first.opname == "LOAD_FAST" and first.argval == "cls" and len(path) == 1:
            owner = f"{function.__module__}.{function.__qualname__.rpartition('.')[0]}"
            self._add(f"{owner}.{path[0]}", "attribute")
        elif first.opname == "LOAD_GLOBAL":
            self._look_at_set_of_global(function.__globals__.get(first.argval), path)

    def _look_at_set_of_global(self, owner: Any, path: list[str]) -> None:
        for name in path[:-1]:
            if not isinstance(owner, ModuleType | type):
                return
            owner = vars(owner).get(name)
        if (name_of_owner := name_of(owner)) is not None:
            self._add(f"{name_of_owner}.{path[-1]}", "attribute")

    def _look_at_function(self, function: FunctionType) -> None:
        name = f"{function.__module__}.{function.__qualname__}"
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if any(type(default) in CONTAINERS for default in defaults):
            self._add(f"{name}()", "default")
        if "<locals>" in function.__qualname__:
            return
        for variable, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            with contextlib.suppress(ValueError):
                if isinstance(cell.cell_contents, CONTAINERS) and variable in self._changed_names:
                    self._add(f"{name}:{variable}", "closure")
        for attribute, value in vars(function).items():
            if isinstance(value, CONTAINERS) and attribute in self._changed_names:
                self._add(f"{name}.{attribute}", "attribute")

    def _look_at_owner(self, name: str, owner: Any) -> None:
        for attribute, value in tuple(vars(owner).items()):
            if attribute.startswith("__") and attribute.endswith("__"):
                continue
            self._look_at_value(f"{name}.{attribute}", attribute, value)
            is_class = isinstance(owner, ModuleType) and issubclass(type(value), type)
            if is_class and value.__module__ == name and id(value) not in self._seen:
                self._seen.add(id(value))
                self._look_at_owner(f"{name}.{attribute}", value)

    def _look_at_value(self, name: str, attribute: str, value: Any) -> None:
        kind = type(value)  # what proxies say of themselves may ask a GPU
        if kind in (staticmethod, classmethod):
            value = value.__func__
            kind = type(value)
        if issubclass(kind, CONTAINERS):
            if id(value) not in self._seen and attribute in self._changed_names:
                self._seen.add(id(value))
                self._add(name, "container")
        elif kind is CACHE:
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._add(f"{value.__module__}.{value.__qualname__}", "cache")
        elif self._is_changing_object(value) and id(value) not in self._seen:
            self._seen.add(id(value))
            self._add(name, "object")
            self.types[name] = f"{kind.__module__}.{kind.__qualname__}"

    def _is_changing_object(self, value: Any) -> bool:
        """Whether methods of its class, which is torch's, set its attributes after it was made."""
        kind = type(value)
        if issubclass(kind, type | ModuleType | FunctionType | Enum):
            return False
        if kind.__module__.partition(".")[0] != "torch":
            return False
        return any(
            f"{base.__module__}.{base.__qualname__}.{method}" in self._changing_methods
            for base in kind.__mro__
            for method in vars(base)
        )


def own_names() -> set[str]:
    """What is a rank's own."""
    names = {name for row in OWN_STATE for name in row.full_names()}
    names |= {cache.replace(":", ".") for cache in FORGOTTEN_CACHES}
    return names | {str(row) for row in ROWS}


def parts_of(row: Shared, name: str, type_name: str) -> list[str]:
    """Which patterns of a row match a name that was found, or its object's class."""
    return [part for part in row.names if fnmatchcase(name, part)] + [
        part for part in row.types if fnmatchcase(type_name, part)
    ]


def stale_rows(matched: set[str]) -> list[str]:
    """What the tables name and the installed torch lacks."""
    patterns = [part for row in SHARED_STATE for part in (*row.names, *row.types)]
    own = [(row.owner, name) for row in OWN_STATE for name in row.names]
    stale = [part for part in patterns if part not in matched]
    stale += [f"{owner}.{name}" for owner, name in own if not is_there(owner, name)]
    return [part for part in stale if part not in NOT_IN_EVERY_TORCH]


def is_there(owner: str, name: str) -> bool:
    """Whether the installed torch has a name that is a rank's own."""
    try:
        return name in vars(pkgutil.resolve_name(owner if ":" in owner else f"{owner}:"))
    except (AttributeError, ImportError):
        return False


def main() -> int:
    """List, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    warnings.simplefilter("ignore")
    import_all()
    inventory = Inventory()
    found, own = inventory.take(), own_names()
    matched: set[str] = set()
    unknown = []
    for name, kind in sorted(found.items()):
        parts = {
            row.why: parts_of(row, name, inventory.types.get(name, "")) for row in SHARED_STATE
        }
        reasons = [why for why, matching in parts.items() if matching]
        matched.update(part for matching in parts.values() for part in matching)
        whose = "own" if name in own else next(iter(reasons), None)
        if whose is None:
            unknown.append(f"{kind} {name} is in no table: is it a rank's own, or why not?")
        if not check:
            print(f"{kind:10} {name}: {whose or '?'}")
    stale = [f"torch {torch.__version__} has no {part}" for part in stale_rows(matched)]
    for line in [*unknown, *stale] if check else []:
        sys.stderr.write(f"{line}\n")
    return 1 if check and (unknown or stale) else 0


if __name__ == "__main__":
    sys.exit(main())
