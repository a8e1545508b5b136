"""Which functions are the process's own, whoever registers them: those in which no rank's code has a part."""

from __future__ import annotations

import gc
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
            if name != "builtins" and not is_shared(str(name), modules):
                return False
        if isinstance(value, FunctionType):
            todo += (value.__closure__, value.__defaults__, value.__kwdefaults__, vars(value))
        elif not isinstance(value, type):
            todo += gc.get_referents(value)
    return True


def _module_of(value: FunctionType | type) -> Any:
    # What wraps a function calls itself as that does, and has other globals.
    return (
        value.__globals__.get("__name__") if isinstance(value, FunctionType) else value.__module__
    )
