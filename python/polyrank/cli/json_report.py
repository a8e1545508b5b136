"""What a run did, as a JSON file for other programs. docs/run.md describes each field."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from polyrank.cli.options import RunOptions
from polyrank.cli.report import RunReport

# Raised when a field changes its meaning or goes; a field that is only added leaves it.
SCHEMA_VERSION = 1


def json_document(
    options: RunOptions, report: RunReport, exit_code: int, error: dict[str, str] | None
) -> dict[str, Any]:
    """The content of the file: what was run, how it ended, and the counts of `report`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "world": options.world,
        "script": options.script,
        "arguments": list(options.arguments),
        "is_module": options.is_module,
        "local_world_size": options.local_world_size,
        "exit_code": exit_code,
        "error": error,
        **dataclasses.asdict(report),
    }


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
    """Write `text` to `target` as a whole: a reader sees the old file or the new one.

    Raises:
        OSError: the file can't be written; what was there before is unchanged.
    """
    draft = _draft_of(target)
    try:
        draft.write_text(text)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _draft_of(target: Path) -> Path:
    # In the same folder, since only there a rename replaces a file in one step.
    return target.with_name(f".{target.name}.{os.getpid()}")
