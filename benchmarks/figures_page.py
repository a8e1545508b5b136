"""The figures as a page of pictures: `make bench` writes it, and `make site` puts it beside the documents."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch
from figure import Figure, Skipped
from polyrank.any_world.rank_names import number_of_ranks
from polyrank.output.html_page import page_text, plain

_BAR = 26  # pixels of a row
_EDGES = 130


def write_page(results: Sequence[Figure | Skipped], file: Path, notes: Sequence[str] = ()) -> None:
    figures = [result for result in results if isinstance(result, Figure)]
    skipped = [f"{r.section}: {r.reason}" for r in results if isinstance(r, Skipped)]
    facts = [
        ("processor", platform.processor() or platform.machine()),
        ("torch", torch.__version__),
        *[("note", note) for note in notes],
        *[("not measured", reason) for reason in skipped],
    ]
    pictures = [
        picture
        for section in dict.fromkeys(figure.section for figure in figures)
        for picture in _pictures(section, [f for f in figures if f.section == section])
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page_text("polyrank beside PyTorch, measured", pictures, "", facts))


def _pictures(section: str, figures: Sequence[Figure]) -> list[Any]:
    """One for each unit, and one of what is told as a multiple of other work."""
    found = []
    with_base = [figure for figure in figures if figure.base is not None]
    for base in dict.fromkeys(figure.base_name for figure in with_base):
        rows = [figure for figure in with_base if figure.base_name == base]
        found.append(_bars(f"{section}: times {base}", rows, ratios=True))
    for unit in ("seconds", "bytes"):
        rows = [figure for figure in figures if figure.base is None and figure.unit == unit]
        if rows:
            found.append(_bars(f"{section}: {unit}", rows, ratios=False))
    return found


def _bars(title: str, figures: Sequence[Figure], *, ratios: bool) -> Any:
    names = [plain(_name(figure)) for figure in figures]
    ours = [figure.ratio if ratios else figure.value for figure in figures]
    theirs = [figure.peer_ratio if ratios else figure.peer_value for figure in figures]
    picture = go.Figure()
    picture.add_bar(y=names, x=ours, orientation="h", name="polyrank", marker_color="#3f51b5")
    if any(value is not None for value in theirs):
        picture.add_bar(
            y=names, x=theirs, orientation="h", name="LocalTensorMode", marker_color="#e08a00"
        )
    picture.add_scatter(
        y=names,
        x=[figure.budget for figure in figures],
        mode="markers",
        name="budget",
        marker={"symbol": "line-ns-open", "size": 16, "color": "#c62828", "line": {"width": 3}},
    )
    picture.update_layout(
        title=plain(title), barmode="group", height=_EDGES + 2 * _BAR * len(figures)
    )
    picture.update_xaxes(type="log")
    picture.update_yaxes(autorange="reversed", automargin=True)
    return picture


def _name(figure: Figure) -> str:
    if figure.num_ranks is None:
        return figure.work
    return f"{figure.work}, {number_of_ranks(figure.num_ranks)}"
