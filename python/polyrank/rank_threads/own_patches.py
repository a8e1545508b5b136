"""Attributes of shared modules and classes that a rank's program sets: they are the rank's own.

Programs patch: `builtins.print = print_of_rank_0`, `dist.all_reduce = counted(dist.all_reduce)`,
`torch.nn.Linear.forward = ours`. In a process that reaches nobody else, so here it does not either.
The attributes stay as they are for the others, and for the process after the run.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

from polyrank import _C
from polyrank.rank_threads.own_modules import OwnModules, is_library, package_of

__all__ = ["own_patches"]

# What the class itself answers, and not its dict.
_OF_TYPE = frozenset(vars(type)) - frozenset(vars(object))

# Modules that keep what they are asked for: the operators of PyTorch, which are everybody's.
_FILLED_AS_ASKED = frozenset({"torch.ops", "torch.classes"})


@contextlib.contextmanager
def own_patches(state: _C.ProcessState, modules: OwnModules | None) -> Iterator[None]:
    """Let what ranks set be their own.

    What a shared module sets while it is loaded is everybody's, as the module is.
    """

    def is_shared(module: str) -> bool:
        package = package_of(module)
        if package == "polyrank":
            return False
        return is_library(package) or (modules is not None and modules.are_shared(package))

    def on_set(owner: Any, name: str, value: Any) -> None:
        module = _module_of(owner, name, value)
        if module is None or not is_shared(module):
            return
        setter = _set_by()
        if setter is None or not (is_shared(setter) or package_of(setter) == "polyrank"):
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


def _set_by() -> str | None:
    """The module that is being loaded, or polyrank's function, which sets it; None: a function's."""
    frame: FrameType | None = sys._getframe(2)
    if frame is not None and package_of(frame.f_globals.get("__name__", "")) == "polyrank":
        return "polyrank"
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__")
            return name if isinstance(name, str) else None
        frame = frame.f_back
    return None
