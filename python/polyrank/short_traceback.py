"""Errors as notebooks show them: without the frames of torch and polyrank, which say nothing of the program."""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path

__all__ = ["short_traceback"]

_PACKAGES = ("polyrank", "torch")


def short_traceback(error: BaseException) -> list[str]:
    """The program's lines, how many others are left out, and what the error says, with its notes."""
    folders = tuple(_folder_of(package) for package in _PACKAGES)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(folders)]
    lines = [line.rstrip("\n") for line in traceback.format_list(own)]
    if len(own) < len(frames):
        lines.append(f"  ({len(frames) - len(own)} more inside of torch and polyrank)")
    return [*lines, f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]


def _folder_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None  # noqa: S101 - this package needs it
    return f"{Path(str(spec.origin)).parent}/"
