"""polyrank runs an N-rank distributed PyTorch program in one process, every rank's values exact.

What the package exports is loaded when it is first asked for, so that the command line answers at once
(PyTorch takes more than a second). `__init__.pyi` says what there is, and where.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from polyrank import compiled_for

# Where `polyrank._C` is found: the extension for the torch that is installed.
compiled_for.extend(__path__, Path(__file__).parent)

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text())
# The module of each name.
_HOME = {
    alias.name: node.module
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom) and node.module is not None
    for alias in node.names
}

__all__ = list(_HOME)


class _Package(ModuleType):
    """The package: its names, and its modules."""

    def __getattr__(self, name: str) -> Any:
        if name in _HOME:
            value = vars(self)[name] = getattr(importlib.import_module(_HOME[name]), name)
            return value
        module = f"{__name__}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of a module binds it to its name here, which some functions have, too: they stay.
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *_HOME})


sys.modules[__name__].__class__ = _Package
