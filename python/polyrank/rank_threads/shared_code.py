"""Which functions are the process's own, whoever registers them: those in which no rank's code has a part."""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType
from typing import Any

from polyrank.rank_threads.own_modules import OwnModules, is_shared

__all__ = ["is_shared_code"]

_MOST_HELD = (
    1000  # torch's own hold some tens of objects; who holds more, holds what ranks have made
)


def is_shared_code(function: Any, modules: OwnModules | None) -> bool:
    """Whether a function, and all that it holds on to, is of modules that ranks share.

    torch registers such functions by itself, when one rank first needs them, and once in a process:
    `vmap` the rules of operators that it takes apart.
    """
    found: dict[int, Any] = {}
    todo = [function]
    while todo:
        value = todo.pop()
        if id(value) in found or isinstance(value, ModuleType):
            continue
        found[id(value)] = value
        if len(found) > _MOST_HELD:
            return False
        if isinstance(value, FunctionType | type):
            name = _module_of(value)
            if name != "builtins" and not is_shared(name, modules):
                return False
        if isinstance(value, FunctionType):
            todo += (value.__closure__, value.__defaults__, value.__kwdefaults__, vars(value))
        elif not isinstance(value, type) or not _is_of_a_module(value):
            todo += gc.get_referents(value)
    return True


def _is_of_a_module(a_class: type) -> bool:
    """Whether a module has the class by its name; the methods of others may hold what made them."""
    found: Any = sys.modules.get(a_class.__module__)
    for name in a_class.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is a_class


def _module_of(value: FunctionType | type) -> str:
    if isinstance(value, type):
        return str(value.__module__)
    # What wraps a function calls itself as that does, and has other globals.
    name = str(value.__globals__.get("__name__"))
    is_named_tuples = name.startswith("namedtuple_") and name not in sys.modules
    return "collections" if is_named_tuples else name  # which makes its __new__ from text
