"""Whose code asks: the program's, or that of a library which serves it."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch

from polyrank import _C

__all__ = ["IN_TORCH", "is_of_library"]

IN_TORCH = f"{Path(torch.__file__).parent}/"
_LIBRARIES = (
    *(f"{sysconfig.get_path('stdlib')}/", f"{Path(__file__).parent}/"),
    *(f"{Path(_C.__file__).parent}/", IN_TORCH, "<frozen "),
)
# Installed packages may lie below Python's own library.
_PACKAGES = tuple(f"{sysconfig.get_path(name)}/" for name in ("purelib", "platlib"))


def is_of_library(file: str) -> bool:
    """Whether the file is of Python's library, torch or polyrank. Other packages use these as programs do."""
    if not file.startswith(_LIBRARIES):
        return False
    return not file.startswith(_PACKAGES) or file.startswith(_LIBRARIES[1:])
