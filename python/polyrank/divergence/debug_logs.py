"""Two logs of PyTorch's DebugMode, as `DebugMode.save_logs` writes them: where one leaves the other.

The format is torch's, version 1, of torch 2.14 and later: a JSON object with `format`, `version` and `logs`, a
list of calls. A value within is an object of its `type`: "scalar", "nonfinite_float", "tuple", "list", "dict".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from polyrank import exit_codes
from polyrank.divergence.report import Report, rows
from polyrank.errors import UsageError

__all__ = ["FORMAT", "VERSION", "Call", "ComparedLogs", "compare_logs", "read_log"]

SCHEMA_VERSION = 1
FORMAT, VERSION = "torch.utils._debug_mode.DebugMode.logs", 1
# The field by which calls of a type go.
_NAMES = {
    "op": "op_name",
    "triton_kernel": "kernel_name",
    "annotate": "tag",
    "redistribute": "arg_str",
    "output_placement": "placements_str",
}
_OWN_FOLDER = f"{Path(__file__).resolve().parents[1]}/"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


@dataclass(frozen=True)
class Call:
    """A call of the log."""

    kind: str  # "op", "triton_kernel", …
    name: str
    arguments: str  # types and shapes
    depth: int
    inputs: tuple[Any, ...]  # hashes; empty: they were not logged
    outputs: tuple[Any, ...]
    line: str  # of the program, where stack traces were recorded: "train.py:12"

    @property
    def what(self) -> tuple[str, str, str, int]:
        """What both logs must have in the same place."""
        return (self.kind, self.name, self.arguments, self.depth)

    def __str__(self) -> str:
        return f"{self.name}({self.arguments})"


@dataclass(frozen=True)
class Parting:
    """A call at which the logs differ."""

    position: int  # from 1
    call: str
    line: str
    says: str
    relative: float | None = None  # how far the hashes are apart


@dataclass(frozen=True)
class ComparedLogs(Report):
    """What two logs say of each other."""

    files: tuple[str, str]
    num_calls: tuple[int, int]
    num_hashed: int  # calls that both hashed
    partings: list[Parting]

    title = "Two logs of DebugMode"

    @property
    def exit_code(self) -> int:
        return exit_codes.DIVERGENCE if self.partings else 0

    def text(self) -> str:
        if not self.partings:
            compared = (
                f"{self.num_hashed:,} of {self.num_calls[0]:,} calls have hashes, the same in both"
            )
            return f"the logs are the same: {compared}\n"
        first = self.partings[0]
        entries = [("call", f"{first.position:,} of {self.num_calls[0]:,}: {first.call}")]
        if first.line:
            entries.append(("line", first.line))
        if first.relative is not None:
            entries.append(("off by", f"{first.relative:.3g} of the hash"))
        if len(self.partings) > 1:
            entries.append(("then", f"{len(self.partings) - 1:,} more calls differ"))
        return "\n".join([f"the logs part: {first.says}", *rows(entries)]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def read_log(file: Path) -> list[Call]:
    """The calls of a log that DebugMode.save_logs wrote.

    Raises:
        UsageError: the file is none, or of another version.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(file)!r} can't be read as a log of DebugMode: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(
            f"{str(file)!r} is no log of DebugMode: write one with DebugMode.save_logs(mode.logs, file) "
            "of torch 2.14 or later, or with polyrank check save-logs"
        )
    if document.get("version") != VERSION:
        raise UsageError(
            f"{str(file)!r} is a log of version {document.get('version')!r}; known is {VERSION}"
        )
    try:
        return [_call(entry) for entry in document["logs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{str(file)!r} is no whole log of DebugMode: {error!r}") from error


def compare_logs(file: Path, other: Path) -> ComparedLogs:
    """Find the first call at which two logs differ.

    Where both have hashes of what calls take, a call that takes the same and gives something else is told
    first: it is where the runs part.

    Raises:
        UsageError: a file is no log of DebugMode.
    """
    calls, others = read_log(file), read_log(other)
    partings: list[Parting] = []
    num_hashed = 0
    for position, (mine, theirs) in enumerate(zip_longest(calls, others), 1):
        if mine is None or theirs is None or mine.what != theirs.what:
            partings.append(_other_call(position, mine, theirs))
            break
        num_hashed += bool(mine.outputs and theirs.outputs)
        parting = _other_hashes(position, mine, theirs)
        if parting is not None:
            partings.append(parting)
    # Python's sort keeps the order of equals.
    partings.sort(key=lambda one: not one.says.endswith(_TAKES_THE_SAME))
    return ComparedLogs((str(file), str(other)), (len(calls), len(others)), num_hashed, partings)


_TAKES_THE_SAME = "it takes the same, and gives something else"


def _other_call(position: int, mine: Call | None, theirs: Call | None) -> Parting:
    told = mine or theirs
    assert told is not None  # noqa: S101
    has = "ends" if mine is None else f"has {mine}"
    others = "ends" if theirs is None else f"has {theirs}"
    return Parting(position, str(told), told.line, f"the first {has}, the other {others}")


def _other_hashes(position: int, mine: Call, theirs: Call) -> Parting | None:
    if bool(mine.outputs) != bool(theirs.outputs):
        return Parting(position, str(mine), mine.line, "only one of them has hashes of it")
    pairs = [(a, b) for a, b in zip_longest(mine.outputs, theirs.outputs) if not _is_same(a, b)]
    if not pairs:
        return None
    has_inputs = bool(mine.inputs and theirs.inputs)
    same = has_inputs and all(_is_same(a, b) for a, b in zip_longest(mine.inputs, theirs.inputs))
    says = _TAKES_THE_SAME if same else "it gives something else"
    if has_inputs and not same:
        says += ", of something else"
    apart = [_relative(a, b) for a, b in pairs]
    known = [relative for relative in apart if relative is not None]
    return Parting(position, str(mine), mine.line, says, max(known, default=None))


def _is_same(a: Any, b: Any) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b


def _relative(a: Any, b: Any) -> float | None:
    """The distance of two hashes, of the larger one; None: they are no numbers."""
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in (a, b)):
        return None
    return float(abs(a - b) / max(abs(a), abs(b), 1e-10))


def _call(entry: dict[str, Any]) -> Call:
    kind = entry["type"]
    if kind not in _NAMES:
        raise ValueError(f"there is no type {kind!r}")
    log = _value(entry["log"]) if entry.get("log") is not None else {}
    if kind == "triton_kernel":
        hashes = [_value(entry[k]) if entry.get(k) else None for k in ("pre_hashes", "post_hashes")]
    else:
        hashes = [log.get("input_hash"), log.get("hash")]
    return Call(
        kind,
        str(entry[_NAMES[kind]]),
        str(entry.get("args_str", "")) + str(entry.get("kwargs_str", "")),
        int(entry["call_depth"]),
        tuple(_leaves(hashes[0])),
        tuple(_leaves(hashes[1])),
        _line(entry.get("fwd_stack_trace") or entry.get("stack_trace") or ""),
    )


def _value(told: dict[str, Any]) -> Any:
    kind = told["type"]
    if kind == "scalar":
        return told["value"]
    if kind == "nonfinite_float":
        return float(told["value"])
    if kind in ("tuple", "list"):
        return [_value(item) for item in told["items"]]
    if kind == "dict":
        return {key: _value(item) for key, item in told["items"]}
    raise ValueError(f"there is no type {kind!r} of values")


def _leaves(value: Any) -> Iterator[Any]:
    """Hashes, without what stands for arguments that have none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _line(stack_trace: str) -> str:
    """The innermost frame of the program's."""
    frames = [
        match
        for match in _FRAME.finditer(stack_trace)
        if "/torch/" not in match["file"] and not match["file"].startswith(_OWN_FOLDER)
    ]
    return f"{Path(frames[-1]['file']).name}:{frames[-1]['line']}" if frames else ""
