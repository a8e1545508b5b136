"""Logs of PyTorch's DebugMode, of each rank of a run, in files as `DebugMode.save_logs` writes them.

torch 2.14 and later write them. Where torch has no such function yet, they are written here, in its format: what
torch 2.13 logs is the same.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils._debug_mode import DebugMode, _calls, _utils

from polyrank import _C
from polyrank.divergence.debug_logs import FORMAT, VERSION
from polyrank.divergence.report import Report, identity_of
from polyrank.output.written_whole import write_text
from polyrank.world import find_world
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.run_options import RunOptions

__all__ = ["SavedLogs", "document_of", "log_file", "save_logs"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SavedLogs(Report):
    """What was written."""

    options: RunOptions
    outcome: Outcome
    files: list[Path]  # by rank
    num_calls: list[int]  # by rank

    title = "Logs of DebugMode"

    @property
    def exit_code(self) -> int:
        return self.outcome.exit_code

    def text(self) -> str:
        lines = [
            f"{file}: {calls:,} calls"
            for file, calls in zip(self.files, self.num_calls, strict=True)
        ]
        lines.append(
            "`polyrank check logs` compares two of them, or one with a log of a cluster's rank"
        )
        return self.outcome.failure + "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            **identity_of(self.options),
            "exit_code": self.outcome.exit_code,
            "files": [str(file) for file in self.files],
            "num_calls": self.num_calls,
        }


def log_file(folder: Path, rank: int) -> Path:
    """Where a rank's log goes."""
    return folder / f"rank_{rank}.json"


def save_logs(options: RunOptions, folder: Path, hashes: str) -> SavedLogs:
    """Run the script on rank threads, each in a DebugMode of its own, and write what these logged.

    Args:
        options: what to run; its world is "threads".
        folder: where to write a file for each rank.
        hashes: of tensors, what `DebugMode.log_tensor_hashes` takes: "norm" or "hash_tensor".
    """
    modes: dict[int, DebugMode] = {}

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        thread = _C.RankThread.current()
        with DebugMode(record_stack_trace=True) as mode:
            modes[0 if thread is None else thread.rank] = mode
            yield

    # Its hooks are the process's, a mode is its thread's.
    with DebugMode.log_tensor_hashes(hashes, hash_inputs=True):
        outcome = find_world(options.world).run(replace(options, around=around))
    logs = [modes[rank].logs if rank in modes else [] for rank in range(options.world_size)]
    files = [log_file(folder, rank) for rank in range(options.world_size)]
    for file, calls in zip(files, logs, strict=True):
        write_text(file, _text_of(calls))
    return SavedLogs(options, outcome, files, [len(calls) for calls in logs])


def _text_of(calls: list[Any]) -> str:
    if not hasattr(DebugMode, "save_logs"):
        return json.dumps(document_of(calls), allow_nan=False) + "\n"
    text = io.StringIO()
    DebugMode.save_logs(calls, text)
    return text.getvalue()


def document_of(calls: list[Any]) -> dict[str, Any]:
    """A mode's logs in the format of `DebugMode.save_logs`."""
    return {"format": FORMAT, "version": VERSION, "logs": [_told_call(call) for call in calls]}


def _told_call(call: Any) -> dict[str, Any]:
    kind, fields = _KINDS[type(call)]
    return {
        "type": kind,
        "call_depth": call.call_depth,
        "log": _told(call.log),
        "output_str": call.output_str,
        "stack_trace": getattr(call, "stack_trace", None),
        "fwd_stack_trace": getattr(call, "fwd_stack_trace", None),
        **fields(call),
    }


def _redistribution(call: Any) -> dict[str, Any]:
    return {
        "arg_str": call.arg_str,
        "src_placement_str": _utils._arg_to_str(call.src_placement, []),
        "dst_placement_str": _utils._arg_to_str(call.dst_placement, []),
        "transform_info_str": call.transform_info_str,
        "is_explicit": call.is_explicit,
        "is_outer_call": call.is_outer_call,
    }


def _kernel(call: Any) -> dict[str, Any]:
    return {
        "kernel_name": call.kernel_name,
        "kwargs_str": call.kwargs_str,
        "pre_hashes": _told(call.pre_hashes),
        "post_hashes": _told(call.post_hashes),
    }


def _operator(call: Any) -> dict[str, Any]:
    name = _calls._get_call_name(call)
    return {"op_name": name, "args_str": call.args_str, "kwargs_str": call.kwargs_str}


# By the class of a call, its type in a file, and its own fields.
_KINDS: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    _calls._OpCall: ("op", _operator),
    _calls._RedistributeCall: ("redistribute", _redistribution),
    _calls._OutputPlacementCall: (
        "output_placement",
        lambda call: {"placements_str": call.placements_str},
    ),
    _calls._TritonKernelCall: ("triton_kernel", _kernel),
    _calls._AnnotateCall: (
        "annotate",
        lambda call: {"tag": str(call.tag), "header": call.header},
    ),
}


def _told(value: Any) -> dict[str, Any] | None:
    """What a hook logged; None: nothing."""
    return None if value is None else _told_value(value)


def _told_value(value: Any) -> dict[str, Any]:
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "nonfinite_float", "value": str(value)}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"type": kind, "items": [_told_value(item) for item in value]}
    if isinstance(value, dict):
        return {"type": "dict", "items": [[key, _told_value(one)] for key, one in value.items()]}
    return {"type": "scalar", "value": value}
