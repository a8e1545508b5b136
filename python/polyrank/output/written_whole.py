"""Files that a reader sees as they were or as they are now, never by halves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["writable_target", "write_bytes", "write_json", "write_text"]


def writable_target(path: Path) -> Path:
    """The absolute path of a file that write_json() will be able to write, as far as is known now.

    Raises:
        OSError: the file can't be made or replaced.
    """
    target = path.resolve()  # before the script changes the working directory
    if target.exists() and not target.is_file():
        raise OSError("it exists and is not a file")
    _draft_of(target).open("x").close()
    _draft_of(target).unlink()
    return target


def write_json(target: Path, document: dict[str, Any]) -> None:
    """Write `document` to `target`, as write_text() does."""
    write_text(target, json.dumps(document, indent=2) + "\n")


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target`, as write_bytes() does."""
    write_bytes(target, text.encode())


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` as a whole: a reader sees the old file or the new one.

    Raises:
        OSError: the file can't be written; what was there before is unchanged.
    """
    draft = _draft_of(target)
    try:
        draft.write_bytes(content)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _draft_of(target: Path) -> Path:
    # In the same folder, since only there a rename replaces a file in one step.
    return target.with_name(f".{target.name}.{os.getpid()}")
