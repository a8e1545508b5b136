"""Who shares what: how many different values the ranks bring to each collective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyrank.output.html_page import plain
from polyrank.run_report.recorded import Launch

__all__ = ["cohorts_over_time", "is_shared"]

_MOST_POINTS = 4000


def is_shared(launches: Sequence[Launch]) -> bool:
    """Whether ranks could share values: they launch together, as in lockstep."""
    return any(one.num_ranks > 1 for one in launches)


def cohorts_over_time(launches: Sequence[Launch]) -> Any:
    """A figure: at each launch the cohorts among the ranks that launch, beside those ranks."""
    from plotly import graph_objects

    together = [one for one in launches if one.num_ranks > 1]
    shown = together[:: -(-len(together) // _MOST_POINTS) or 1]
    figure = graph_objects.Figure()
    figure.add_scatter(
        x=list(range(len(shown))),
        y=[one.num_ranks for one in shown],
        name="ranks that launch",
        mode="lines",
        line={"shape": "hv", "dash": "dot", "color": "gray"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=list(range(len(shown))),
        y=[one.num_cohorts for one in shown],
        name="cohorts: ranks that hold the same are one",
        mode="lines+markers",
        line={"shape": "hv"},
        marker={"size": 5},
        customdata=[
            f"{plain(one.kind)} of {plain(one.group)}: {one.num_ranks:,} ranks hold {one.num_cohorts:,} "
            f"different values<br>{plain(one.module)} {plain(one.source)}"
            for one in shown
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.update_layout(
        title="Cohorts: how many different values ranks bring",
        xaxis_title="launch",
        height=340,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    figure.update_yaxes(type="log", dtick=1, title="ranks, cohorts")
    return figure
