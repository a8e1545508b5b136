"""Whose code asks: the program's, or that of a library which serves it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import FrameType

import torch

from polyrank import _C
from polyrank.replacing.python_function import is_exchanged

__all__ = ["IN_POLYRANK", "IN_TORCH", "calling_file", "is_of_library", "is_of_python"]

IN_POLYRANK = f"{Path(__file__).parents[1]}/"
IN_TORCH = f"{Path(torch.__file__).parent}/"
_OF_PYTHON = (f"{sysconfig.get_path('stdlib')}/", "<frozen ")
_LIBRARIES = (
    *(_OF_PYTHON[0], IN_POLYRANK),
    *(f"{Path(_C.__file__).parent}/", IN_TORCH, _OF_PYTHON[1]),
)
# Installed packages may lie below Python's own library.
_PACKAGES = tuple(f"{sysconfig.get_path(name)}/" for name in ("purelib", "platlib"))


def is_of_python(file: str) -> bool:
    """Whether the file is of Python's library."""
    return file.startswith(_OF_PYTHON) and not file.startswith(_PACKAGES)


def is_of_library(file: str) -> bool:
    """Whether the file is of Python's library, torch or polyrank. Other packages use these as programs do."""
    if not file.startswith(_LIBRARIES):
        return False
    return not file.startswith(_PACKAGES) or file.startswith(_LIBRARIES[1:])


def calling_file(depth: int) -> str:
    """The file of the code that called a replaced function, `depth` frames above who asks here."""
    frame: FrameType | None = sys._getframe(depth)
    if frame is not None and is_exchanged(frame):
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename
