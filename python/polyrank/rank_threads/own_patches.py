"""Attributes of shared modules and classes that a rank's program sets: they are the rank's own.

Programs patch: `builtins.print = print_of_rank_0`, `dist.all_reduce = counted(dist.all_reduce)`,
`torch.nn.Linear.forward = ours`. In a process that reaches nobody else, so here it does not either.
The attributes stay as they are for the others, and for the process after the run.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from polyrank import _C
from polyrank.rank_threads.own_modules import (
    OwnModules,
    is_shared,
    loads_shared,
    package_of,
)

__all__ = ["own_patches"]

# What the class itself answers, and not its dict.
_OF_TYPE = frozenset(vars(type)) - frozenset(vars(object))

# Modules that keep what they are asked for: the operators of PyTorch, which are everybody's.
_FILLED_AS_ASKED = frozenset({"torch.ops", "torch.classes"})


@contextlib.contextmanager
def own_patches(state: _C.ProcessState, modules: OwnModules | None) -> Iterator[None]:
    """Let what ranks set be their own.

    What shared modules set while they are loaded is everybody's, as they are; so is what a package
    sets of its own, which is often a thing to be found once (torch's is in own_state.py).
    """

    def on_set(owner: Any, name: str, value: Any) -> None:
        module = _module_of(owner, name, value)
        if module is None or not is_shared(module, modules):
            return
        frame = sys._getframe(1)  # of who sets it
        setter = package_of(frame.f_globals.get("__name__", ""))
        if setter in (package_of(module), "polyrank") or loads_shared(frame, modules):
            return
        state.add_value(owner if isinstance(owner, type) else vars(owner), name)

    _C.watch_attribute_sets(on_set)
    try:
        yield
    finally:
        _C.watch_attribute_sets(None)


def _module_of(owner: Any, name: str, value: Any) -> str | None:
    """The module whose attribute, or whose class's, is set; None if it is no other's affair."""
    if isinstance(owner, type):
        module = sys.modules.get(owner.__module__)
        found: Any = module
        for part in owner.__qualname__.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        return owner.__module__ if found is owner and name not in _OF_TYPE else None
    module_name = vars(owner).get("__name__")
    if sys.modules.get(module_name) is not owner or module_name in _FILLED_AS_ASKED:
        return None  # or one that is being made
    is_submodule = isinstance(value, ModuleType) and (
        sys.modules.get(f"{module_name}.{name}") is value
    )
    return None if is_submodule else module_name
