"""What `polyrank run` was asked to do, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """One run of a program."""

    script: str  # a file, or with is_module a module's name
    arguments: tuple[str, ...]
    is_module: bool
    world: str  # "lockstep", "threads" or "fake"
    world_size: int
    local_world_size: int  # ranks a node
    device: str | None  # "cpu", "cuda" or None: decide by what the machine has
    json_file: Path | None  # where to write the report; absolute
    rank: int | None = None  # the one that runs, in the fake world
    trace_file: Path | None = None  # where to write the trace; absolute
