"""A trace file, read and checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyrank.errors import UsageError

__all__ = ["Launch", "Recorded", "num_ranks_in", "read_trace", "recorded_from_text"]

_SCHEMA_VERSION = 1
_SHORTENED = re.compile(r"\((\d+) ranks\)")
_RUN = re.compile(r"(\d+)(?:-(\d+)(?: step (\d+))?)?")


@dataclass(frozen=True)
class Launch:
    """What the page shows of one launch."""

    kind: str
    group: str  # its label
    sequence: int
    ranks: str  # who launched: "0-63"
    num_ranks: int
    num_cohorts: int  # of them that bring different values
    module: str
    phase: str
    source: str  # "train.py:12", or nothing
    wire_bytes: int  # that each of them sends, by the usual algorithm
    start_us: float
    end_us: float
    waited_us: float | None  # when the program waited for what it had launched asynchronously

    @property
    def first_rank(self) -> int:
        """The lowest of who launched."""
        found = _RUN.search(self.ranks)
        return int(found[1]) if found is not None else 0


@dataclass(frozen=True)
class Recorded:
    """All of them, and what is known of the run."""

    launches: list[Launch]
    run: dict[str, Any] = field(default_factory=dict)  # the document of `polyrank run --json`


def read_trace(path: Path) -> Recorded:
    """What `polyrank run --trace` or `Trace.to_json` wrote.

    Raises:
        UsageError: it is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} can't be read: {error}") from error
    try:
        return recorded_from_text(text)
    except UsageError as error:
        raise UsageError(f"{str(path)!r} {error}") from error


def recorded_from_text(text: str, run: dict[str, Any] | None = None) -> Recorded:
    """The same, of the file's text.

    Raises:
        UsageError: it is no trace.
    """
    try:
        document = json.loads(text)
        document = document.get("polyrank", document)
        version, groups, launches = (
            document["schema_version"],
            document["groups"],
            document["launches"],
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(
            "is no trace: it must be a file of `polyrank run --trace` or `Trace.to_json`"
        ) from error
    if version != _SCHEMA_VERSION:
        raise UsageError(
            f"is a trace of schema {version}, and this polyrank reads {_SCHEMA_VERSION}"
        )
    try:
        found = [_launch(launch, groups) for launch in launches]
    except (KeyError, IndexError, TypeError) as error:
        raise UsageError(f"is no whole trace: a launch has no usable {error}") from error
    return Recorded(found, run or document.get("run", {}))


def num_ranks_in(ranks: str) -> int:
    """How many a text names: "0-3", "0-56 step 8", "0,2,… (512 ranks)"."""
    if (shortened := _SHORTENED.search(ranks)) is not None:
        return int(shortened[1])
    return sum(
        1 if last == "" else (int(last) - int(first)) // int(step or 1) + 1
        for first, last, step in _RUN.findall(ranks)
    )


def _launch(launch: dict[str, Any], groups: list[dict[str, Any]]) -> Launch:
    group, source, waited = groups[launch["group"]], launch["source"], launch["waited"]
    return Launch(
        kind=launch["kind"],
        group=group["label"] or f"group {group['name']}",
        sequence=launch["sequence"],
        ranks=launch["ranks"],
        num_ranks=num_ranks_in(launch["ranks"]),
        num_cohorts=launch["num_cohorts"],
        module=launch["module"],
        phase=launch["phase"],
        source=f"{source['file']}:{source['line']}" if source and source["file"] else "",
        wire_bytes=launch["wire_bytes"],
        start_us=launch["start_us"],
        end_us=launch["end_us"],
        waited_us=waited["us"] if waited and launch["async"] else None,
    )
