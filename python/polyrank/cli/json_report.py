"""What a run did, as a JSON file for other programs. docs/run.md describes each field."""

from __future__ import annotations

import dataclasses
from typing import Any

from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

# Raised when a field changes its meaning or goes; a field that is only added leaves it.
SCHEMA_VERSION = 1


def json_document(options: RunOptions, outcome: Outcome) -> dict[str, Any]:
    """The content of the file: what was run, how it ended, and its counts."""
    return {
        "schema_version": SCHEMA_VERSION,
        "world": options.world,
        "script": options.script,
        "arguments": list(options.arguments),
        "is_module": options.is_module,
        "local_world_size": options.local_world_size,
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        **dataclasses.asdict(outcome.report),
    }
