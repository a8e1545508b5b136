"""`torch.jit.script` while functions of torch are replaced: it compiles what PyTorch's own names are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.jit._builtins
import torch.jit._recursive

__all__ = ["SCRIPT_FUNCTIONS"]

_OWN_FOLDER = str(Path(__file__).parent) + os.sep


def _find_builtin(original: Callable[[Any], str | None], function: Any) -> str | None:
    """The operator that a function stands for, ours that of the one that it replaces."""
    found = original(function)
    code = getattr(function, "__code__", None)
    if found is None and code is not None and code.co_filename.startswith(_OWN_FOLDER):
        replaced = getattr(function, "__wrapped__", None)
        return None if replaced is None else original(replaced)
    return found


# Owner, name, and what to call with the original and its arguments.
SCRIPT_FUNCTIONS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (torch.jit._builtins, "_find_builtin", _find_builtin),
    (torch.jit._recursive, "_find_builtin", _find_builtin),
)
