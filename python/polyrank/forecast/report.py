"""A forecast as text, as JSON and as a snapshot."""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from polyrank.forecast.memory import Memory
from polyrank.forecast.speeds import compared
from polyrank.forecast.time_report import print_time, time_dict

if TYPE_CHECKING:
    from polyrank import _C
    from polyrank.forecast.running import Forecast

__all__ = ["SCHEMA_VERSION", "report_dict", "report_text", "write_snapshot"]

# Raised when a field changes its meaning or goes; a field that is only added leaves it.
SCHEMA_VERSION = 1
_MOST_MODULES = 12
_WIDTH = 120
_SHOWN_IN_MIB = 10 * 2**20


def report_dict(forecast: Forecast) -> dict[str, Any]:
    """The content of the JSON file; bytes and nanoseconds everywhere."""
    memory = forecast.memory
    known = compared("memory", forecast.cluster.gpu_speeds)
    return {
        "schema_version": SCHEMA_VERSION,
        "cluster": dataclasses.asdict(forecast.cluster),
        "world_size": forecast.world_size,
        "rank": forecast.rank,
        "fits": memory.fits,
        "headroom": memory.headroom,
        "messages_among": forecast.messages_among,
        "memory": {
            field.name: _plain(getattr(memory, field.name)) for field in dataclasses.fields(Memory)
        },
        "memory_compared": None if known is None else dataclasses.asdict(known),
        "time": None if forecast.timeline is None else time_dict(forecast.time),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "operation"):  # a read
        return {name: getattr(value, name) for name in ("line", "operation", "assumed", "count")}
    return value


def _gib(num_bytes: int) -> str:
    """In MiB what would be a hundredth of a GiB, or less."""
    if 0 < abs(num_bytes) < _SHOWN_IN_MIB:
        return f"{num_bytes / 2**20:,.2f} MiB"
    return f"{num_bytes / 2**30:,.2f} GiB"


def report_text(forecast: Forecast, *, has_failed: bool = False) -> str:
    """Verdict, peaks, who held the most, what stands beside, and what was assumed."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH)
    memory = forecast.memory
    console.print(
        f"rank {forecast.rank:,} of {forecast.world_size:,} on {forecast.cluster.name} "
        f"({forecast.cluster.gpu_name}, {_gib(memory.total)}): {_verdict(memory, has_failed)}",
        highlight=False,
    )
    console.print(_totals(memory))
    if (known := compared("memory", forecast.cluster.gpu_speeds)) is not None:
        console.print(known.sentence("Reserved memory"), highlight=False)
    if memory.peak is not None:
        console.print(_where(memory), highlight=False, markup=False)
        console.print(_shares("by owner, at the peak", memory.peak.by_owner))
        console.print(_shares("by module, at the peak", memory.peak.by_module, _MOST_MODULES))
    if forecast.timeline is not None:
        print_time(forecast.time, console)
    if memory.reads:
        console.print(_assumptions(memory))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _verdict(memory: Memory, has_failed: bool) -> str:
    if memory.num_ooms:
        return f"does not fit: it ran out of memory{'' if has_failed else ', and went on'}"
    if has_failed:
        return f"an error ended it, up to which it {_fit(memory)}"
    return _fit(memory)


def _fit(memory: Memory) -> str:
    if not memory.fits:
        return "does not fit: what it held and what stands beside is more than there is"
    if memory.headroom < 0:
        return "fits, if the allocator gives back what it holds in reserve"
    return f"fits, {_gib(memory.headroom)} are left"


def _totals(memory: Memory) -> Table:
    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("bytes", justify="right")
    table.add_row("peak allocated", _gib(memory.peak_allocated))
    table.add_row("peak reserved", _gib(memory.peak_reserved))
    for step in memory.steps:
        table.add_row(
            f"  step {step.step}: allocated, reserved",
            f"{_gib(step.allocated)}, {_gib(step.reserved)}",
        )
    table.add_row("beside it: CUDA's context", _gib(memory.context))
    table.add_row(
        f"beside it: NCCL, {memory.num_communicators} communicators", _gib(memory.communicators)
    )
    table.add_row("times that the allocator had to give back to go on", f"{memory.num_retries:,}")
    return table


def _where(memory: Memory) -> str:
    peak = memory.peak
    if peak is None:
        return ""
    places = [f"step {peak.step}", peak.phase, peak.module, peak.operation, peak.line]
    return "the peak: " + ", ".join(place for place in places if place)


def _shares(title: str, shares: dict[str, int], most: int | None = None) -> Table:
    table = Table(title=title)
    table.add_column("whose")
    table.add_column("bytes", justify="right")
    rows = list(shares.items())
    shown, rest = rows[:most], rows[most:] if most is not None else []
    for name, size in shown:
        table.add_row(name, _gib(size))
    if rest:
        table.add_row(f"{len(rest):,} others", _gib(sum(size for _, size in rest)))
    return table


def _assumptions(memory: Memory) -> Table:
    table = Table(title="what was read of a GPU, and assumed")
    for name in ("line", "read", "assumed", "times"):
        # No line is cut: it is what the reader looks for.
        table.add_column(name, justify="right" if name == "times" else "left", overflow="fold")
    for read in memory.reads:
        table.add_row(read.line or "?", read.operation, read.assumed, f"{read.count:,}")
    return table


def write_snapshot(forecast: Forecast, path: Path) -> None:
    """Write what PyTorch's memory viewer (pytorch.org/memory_viz) shows: all that came and went."""
    pieces = forecast.history.pieces()
    seen: set[int] = set()
    traces: list[list[dict[str, Any]]] = [[] for _ in range(forecast.cluster.gpus_per_node)]
    for time, event in enumerate(forecast.history.events()):
        piece = pieces[event.piece]
        is_new = event.piece not in seen
        seen.add(event.piece)
        entry = {
            "addr": piece.address,
            "size": piece.bytes,
            "stream": piece.stream,
            "time_us": time,
            "frames": _frames(piece),
        }
        actions = ("alloc",) if is_new else ("free_requested", "free_completed")
        traces[piece.gpu] += [entry | {"action": action} for action in actions]
    document = {
        "segments": forecast.segments,
        "device_traces": traces,
        "allocator_settings": {},
        "external_annotations": [],
    }
    with path.open("wb") as opened:
        pickle.dump(document, opened)


def _frames(piece: _C.MemoryPiece) -> list[dict[str, Any]]:
    file, _, line = piece.line.rpartition(":")
    where = {"filename": file or "?", "line": int(line) if line.isdecimal() else 0}
    return [
        where | {"name": piece.operation or "storage"},
        where | {"name": f"{owner_text(piece)} {piece.module}".strip()},
    ]


def owner_text(piece: _C.MemoryPiece) -> str:
    """Whose the piece is, with the name of what it belongs to."""
    from polyrank.forecast.memory import owner_of

    return f"{owner_of(piece)} {piece.detail}".strip()
