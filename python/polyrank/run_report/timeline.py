"""The timeline: a row for each rank, or set of ranks that launch together; a bar for each launch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from polyrank.output.html_page import plain
from polyrank.run_report.recorded import Launch

__all__ = ["timeline"]

_MOST_BARS = 6000  # more, and a browser takes seconds to zoom
_LEAST_HEIGHT, _MOST_HEIGHT = 280, 1400
_PIXELS_A_ROW = 26
_MARGINS = 150
_SHORTEST = 2e-4  # of the whole time: what is shorter could not be seen
_MS = 1e-3
_WAIT = "until it is waited for"


def timeline(launches: Sequence[Launch]) -> Any:
    """A figure, in milliseconds of this machine since the trace began."""
    from plotly import graph_objects

    shown = heapq.nlargest(_MOST_BARS, launches, key=lambda one: one.end_us - one.start_us)
    rows = _rows(launches)
    span = max((one.waited_us or one.end_us for one in launches), default=0.0)
    figure = graph_objects.Figure()
    for kind in sorted({one.kind for one in shown}):
        of_kind = [one for one in shown if one.kind == kind]
        figure.add_bar(
            orientation="h",
            name=kind,
            y=[rows[one.ranks] for one in of_kind],
            base=[one.start_us * _MS for one in of_kind],
            x=[max(one.end_us - one.start_us, span * _SHORTEST) * _MS for one in of_kind],
            customdata=[_told(one) for one in of_kind],
            hovertemplate="%{customdata}<extra></extra>",
            marker_line_width=0,
        )
    in_flight = [one for one in shown if one.waited_us is not None]
    if in_flight:
        figure.add_bar(
            orientation="h",
            name=_WAIT,
            y=[rows[one.ranks] for one in in_flight],
            base=[one.end_us * _MS for one in in_flight],
            x=[((one.waited_us or 0.0) - one.end_us) * _MS for one in in_flight],
            customdata=[f"{_told(one)}<br>{_WAIT}" for one in in_flight],
            hovertemplate="%{customdata}<extra></extra>",
            width=0.25,
            marker={"color": "gray", "opacity": 0.5, "line": {"width": 0}},
        )
    names = list(dict.fromkeys(sorted(rows, key=lambda ranks: rows[ranks])))
    figure.update_layout(
        title=_title(len(shown), len(launches)),
        barmode="overlay",
        bargap=0.15,
        dragmode="zoom",
        height=min(max(_PIXELS_A_ROW * len(names) + _MARGINS, _LEAST_HEIGHT), _MOST_HEIGHT),
        xaxis_title="ms on this machine, not a network's",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    figure.update_yaxes(
        title="ranks",
        autorange="reversed",
        tickmode="array" if len(names) <= _MOST_HEIGHT // _PIXELS_A_ROW else "auto",
        tickvals=list(range(len(names))),
        ticktext=[plain(name) for name in names],
    )
    return figure


def _rows(launches: Sequence[Launch]) -> dict[str, int]:
    """The row of each set of ranks, from the lowest rank on, the largest set first."""
    sets = {one.ranks: (one.first_rank, -one.num_ranks, one.ranks) for one in launches}
    return {ranks: i for i, ranks in enumerate(sorted(sets, key=lambda ranks: sets[ranks]))}


def _title(shown: int, there: int) -> str:
    if shown == there:
        return f"Timeline of {there:,} launches"
    return f"Timeline: the {shown:,} longest of {there:,} launches"


def _told(launch: Launch) -> str:
    lines = [
        f"<b>{plain(launch.kind)}</b> of {plain(launch.group)}, launch #{launch.sequence}",
        f"ranks {plain(launch.ranks)}, {launch.wire_bytes:,} bytes on the wire from each",
        f"{(launch.end_us - launch.start_us) * _MS:.3f} ms",
        plain(" ".join(filter(None, [launch.module, launch.phase]))),
        plain(launch.source),
    ]
    return "<br>".join(filter(None, lines))
