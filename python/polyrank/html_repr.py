"""A LocalTensor as an HTML table, for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import torch
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from polyrank.local_tensor import LocalTensor

COHORTS_SHOWN = 16
CHARACTERS_SHOWN = 600  # of the ranks, and of the values, of a cohort


def html_repr(tensor: LocalTensor) -> str:
    """One row for each cohort: its ranks, shape and values; as many as one can take in at a glance."""
    with _disable_current_modes(), torch.no_grad():
        cohorts = tensor.cohorts()
        rows = [
            _row(
                _shortened(str(cohort.ranks)),
                str(list(cohort.tensor.shape)),
                _values(cohort.tensor),
            )
            for cohort in cohorts[:COHORTS_SHOWN]
        ]
    if len(cohorts) > COHORTS_SHOWN:
        rows.append(_row(f"… {len(cohorts) - COHORTS_SHOWN:,} more cohorts", "", ""))
    noun = "cohort" if len(cohorts) == 1 else "cohorts"
    title = f"LocalTensor, {tensor.dtype}: {len(tensor._ranks):,} ranks in {len(cohorts):,} {noun}"
    head = "<tr><th>ranks</th><th>shape</th><th>values</th></tr>"
    return f"<table><caption>{html.escape(title)}</caption>{head}{''.join(rows)}</table>"


def _row(ranks: str, shape: str, values: str) -> str:
    left = 'style="text-align: left; vertical-align: top"'
    cells = (html.escape(ranks), html.escape(shape), f"<pre>{html.escape(values)}</pre>")
    return "<tr>" + "".join(f"<td {left}>{cell}</td>" for cell in cells) + "</tr>"


def _values(tensor: torch.Tensor) -> str:
    return _shortened(str(tensor.detach()))


def _shortened(text: str) -> str:
    return text if len(text) <= CHARACTERS_SHOWN else text[:CHARACTERS_SHOWN] + "…"
