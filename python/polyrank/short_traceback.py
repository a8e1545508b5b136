"""Errors as notebooks show them: without the frames of torch and polyrank, which say nothing of the program."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path

__all__ = ["short_traceback"]

_PACKAGES = ("polyrank", "torch")
_NOTEBOOK = ("IPython",)  # calls the cell


def short_traceback(error: BaseException) -> list[str]:
    """The program's lines, how many others are left out, and what the error says, with its notes."""
    frames = _outside(_NOTEBOOK, traceback.extract_tb(error.__traceback__))
    own = _outside(_PACKAGES, frames)
    lines = [line.rstrip("\n") for line in traceback.format_list(own)]
    if len(own) < len(frames):
        lines.append(f"  ({len(frames) - len(own)} more inside of torch and polyrank)")
    return [*lines, f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]


def _outside(
    packages: Sequence[str], frames: Sequence[traceback.FrameSummary]
) -> list[traceback.FrameSummary]:
    """Those of `frames` that are in none of the packages."""
    specs = [importlib.util.find_spec(package) for package in packages]
    folders = tuple(f"{Path(str(spec.origin)).parent}/" for spec in specs if spec is not None)
    return [frame for frame in frames if not frame.filename.startswith(folders)]
