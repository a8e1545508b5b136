"""The result as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from figure import Figure, Skipped
from rich.console import Console
from rich.table import Table

# Moves when a field changes its meaning or goes away.
_SCHEMA_VERSION = 1
_UNITS = {
    "seconds": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "bytes": ((2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
}
# Budgets hold for a quiet machine: numbers of a busy one are shown with this beside them.
_LOAD_PER_CORE_OF_A_QUIET_MACHINE = 0.5


def print_table(results: Sequence[Figure | Skipped], console: Console) -> None:
    table = Table(title="polyrank beside PyTorch")
    has_jax = any(isinstance(r, Figure) and r.jax_value is not None for r in results)
    headings = ["work", "ranks", "polyrank", "ratio", "budget", "LocalTensorMode", "ratio"]
    for heading in [*headings, "JAX"] if has_jax else headings:
        table.add_column(heading, justify="left" if heading == "work" else "right", no_wrap=True)
    section = None
    for figure in results:
        if isinstance(figure, Skipped):
            continue
        if figure.section not in (section, None):
            table.add_section()
        section = figure.section
        table.add_row(*_cells(figure), *([_jax_cell(figure)] if has_jax else []))
    console.print(table)
    for skipped in results:
        if isinstance(skipped, Skipped):
            console.print(f"not measured ({skipped.section}): {skipped.reason}", markup=False)
    for sentence in busy():
        console.print(sentence)


def busy() -> list[str]:
    """A sentence, if the machine is too busy for budgets to hold."""
    load_per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load_per_core <= _LOAD_PER_CORE_OF_A_QUIET_MACHINE:
        return []
    return [f"The machine was busy: {load_per_core:.1f} runnable processes a core."]


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{_number(figure.ratio)} {figure.base_name}"
    return (
        figure.work,
        "" if figure.num_ranks is None else f"{figure.num_ranks:,}",
        _quantity(figure.value, figure.unit),
        ratio,
        _budget(figure),
        "" if figure.peer_value is None else _quantity(figure.peer_value, figure.unit),
        "" if figure.peer_ratio is None else _number(figure.peer_ratio),
    )


def _jax_cell(figure: Figure) -> str:
    return "" if figure.jax_value is None else _quantity(figure.jax_value, figure.unit)


def _budget(figure: Figure) -> str:
    if figure.budget is None:
        return ""
    limit = (
        _quantity(figure.budget, figure.unit) if figure.ratio is None else _number(figure.budget)
    )
    return f"[green]{limit} met[/]" if figure.is_within_budget else f"[red]{limit} OVER[/]"


def _quantity(value: float, unit: str) -> str:
    scales = _UNITS[unit]
    scale, name = next((s for s in scales if abs(value) >= s[0]), scales[-1])
    return f"{_number(value / scale)} {name}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def write_json(results: Sequence[Figure | Skipped], path: Path) -> None:
    document = {
        "schema_version": _SCHEMA_VERSION,
        "torch_version": torch.__version__,
        "machine": platform.machine(),
        "num_cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "figures": [_json_figure(r) for r in results if isinstance(r, Figure)],
        "skipped": [
            {"section": r.section, "reason": r.reason} for r in results if isinstance(r, Skipped)
        ],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _json_figure(figure: Figure) -> dict[str, object]:
    return {
        "section": figure.section,
        "work": figure.work,
        "num_ranks": figure.num_ranks,
        "unit": figure.unit,
        "value": figure.value,
        "base": figure.base,
        "base_name": figure.base_name,
        "ratio": figure.ratio,
        "peer_value": figure.peer_value,
        "peer_ratio": figure.peer_ratio,
        "jax_value": figure.jax_value,
        "budget": figure.budget,
        "is_within_budget": figure.is_within_budget,
    }
