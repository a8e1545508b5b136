"""Pictures of how what is wrong spreads through a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from polyrank.output.html_page import plain

__all__ = ["Stop", "path_picture"]

_MOST_STOPS = 60
_PIXELS_A_STOP = 44


class Stop(NamedTuple):
    """What the way passes."""

    name: str
    where: str
    says: str


def path_picture(title: str, stops: Sequence[Stop]) -> Any:
    """The way from the first stop, which is at fault, down to the last, as arrows."""
    from plotly import graph_objects

    if len(stops) > _MOST_STOPS:
        left_out = len(stops) - _MOST_STOPS + 1
        stops = [*stops[: _MOST_STOPS - 1], Stop(f"{left_out:,} more", "", "")]
    heights = [-i for i in range(len(stops))]
    figure = graph_objects.Figure(
        graph_objects.Scatter(
            x=[0] * len(stops),
            y=heights,
            mode="lines+markers+text",
            text=[f"<b>{plain(s.name)}</b> {plain(s.where)}  {plain(s.says)}" for s in stops],
            textposition="middle right",
            hoverinfo="text",
            marker={
                "size": 14,
                "symbol": ["x", *["arrow-down"] * (len(stops) - 1)],
                "color": ["crimson", *["steelblue"] * (len(stops) - 1)],
            },
            line={"color": "lightgray"},
        )
    )
    figure.update_layout(
        title=plain(title),
        height=_PIXELS_A_STOP * len(stops) + 160,
        showlegend=False,
    )
    figure.update_xaxes(visible=False, range=[-0.2, 10])
    figure.update_yaxes(visible=False)
    return figure
