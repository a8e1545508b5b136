"""A table of speeds as its file (forecast/speeds.py reads it)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polyrank.calibrate.fit import Fitted
from polyrank.forecast.speeds import GpuTable

__all__ = ["table_text"]


def table_text(table: GpuTable, figures: Mapping[str, Fitted], where: str) -> str:
    """The table with these figures in place of its own, or beside them; TOML.

    Args:
        table: Where all else is from.
        figures: What was measured, by names.
        where: On what it was measured: the GPU, torch, CUDA.
    """
    lines = [
        f"# Measured by polyrank calibrate on {where}; what was not measured is of table {table.name}.",
        f"generation = {json.dumps(table.generation)}  # of nccl.toml",
        "",
        _line("tiles", [list(tile) for tile in table.tiles], table.tiles_source),
    ]
    for name in sorted({*table.figures, *figures}):
        if name in figures:
            fitted = figures[name]
            off = f", off by {fitted.off:.1%} on average" if fitted.count > 1 else ""
            source = f"measured on {where}: {fitted.count} times{off}"
            lines.append(_line(name, float(f"{fitted.value:.5g}"), source))
        else:
            known = table.figures[name]
            lines.append(_line(name, known.value, known.source))
    return "\n".join(lines) + "\n"


def _line(name: str, value: object, source: str) -> str:
    # A basic string of TOML has JSON's escapes.
    return f"{name} = {{ value = {json.dumps(value)}, source = {json.dumps(source)} }}"
