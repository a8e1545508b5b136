"""LocalTensors, their cohorts, and traces as HTML tables, for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import torch
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from polyrank import _C
    from polyrank.recording.trace import Trace
    from polyrank.tensor.local_tensor import LocalTensor

COHORTS_SHOWN = 16
ROWS_SHOWN = 40  # of a trace
_COHORT_COLUMNS = ("ranks", "shape", "values")
_TRACE_COLUMNS = ("module", "phase", "kind", "group", "count", "payload bytes", "wire bytes")
CHARACTERS_SHOWN = 600  # of the ranks, and of the values, of a cohort


class Cohorts(list["_C.Cohort"]):
    """The list that `LocalTensor.cohorts()` gives, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return _table(f"{len(self):,} {_noun(self)}", _COHORT_COLUMNS, _cohort_rows(self))


def html_repr(tensor: LocalTensor) -> str:
    """One row for each cohort: its ranks, shape and values; as many as one can take in at a glance."""
    cohorts = tensor.cohorts()
    title = f"LocalTensor, {tensor.dtype}: {len(tensor._ranks):,} ranks in {len(cohorts):,} "
    return _table(title + _noun(cohorts), _COHORT_COLUMNS, _cohort_rows(cohorts))


def trace_html(trace: Trace) -> str:
    """A row for each module, phase, kind and group, as `Trace.summary()` has them."""
    rows = [
        [*(html.escape(name) for name in names), *(f"{number:,}" for number in numbers)]
        for names, numbers in trace.totals().items()
    ]
    if len(rows) > ROWS_SHOWN:
        more = f"… {len(rows) - ROWS_SHOWN:,} more"
        rows = [*rows[:ROWS_SHOWN], [more, *[""] * (len(_TRACE_COLUMNS) - 1)]]
    return _table(f"{len(trace):,} collectives", _TRACE_COLUMNS, rows)


def _noun(cohorts: list[_C.Cohort]) -> str:
    return "cohort" if len(cohorts) == 1 else "cohorts"


def _cohort_rows(cohorts: list[_C.Cohort]) -> list[list[str]]:
    with _disable_current_modes(), torch.no_grad():
        rows = [
            [
                html.escape(_shortened(str(cohort.ranks))),
                html.escape(str(list(cohort.tensor.shape))),
                f"<pre>{html.escape(_values(cohort.tensor))}</pre>",
            ]
            for cohort in cohorts[:COHORTS_SHOWN]
        ]
    if len(cohorts) > COHORTS_SHOWN:
        rows.append([f"… {len(cohorts) - COHORTS_SHOWN:,} more cohorts", "", ""])
    return rows


def _table(title: str, columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """Cells are HTML, the rest is text."""
    left = 'style="text-align: left; vertical-align: top"'
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td {left}>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table>"


def _values(tensor: torch.Tensor) -> str:
    return _shortened(str(tensor.detach()))


def _shortened(text: str) -> str:
    return text if len(text) <= CHARACTERS_SHOWN else text[:CHARACTERS_SHOWN] + "…"
