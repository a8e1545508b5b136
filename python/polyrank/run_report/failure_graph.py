"""Who waits for whom, and who launched what, drawn from what an error says.

The texts are those of cpp/polyrank/matching: DeadlockError and CollectiveMismatchError.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from polyrank.output.html_page import plain

__all__ = ["Node", "failure_graph", "nodes_of"]

_NODE = re.compile(r"^ +(?P<ranks>ranks? [\d,\- a-z]*?\d)(?P<colon>:)? (?P<does>.+)$", re.MULTILINE)
_FOR = re.compile(r" for (ranks? [\d,\-]+)")
_PLACE = re.compile(r"  (\S(?:(?!  ).)*:\d+)$")  # a path may have spaces in it
_RADIUS_PIXELS = 150


@dataclass(frozen=True)
class Node:
    """Ranks that stand alike."""

    ranks: str  # "ranks 0-2"
    does: str
    place: str  # "train.py:88", or nothing
    waits_for: frozenset[int]

    @property
    def members(self) -> frozenset[int]:
        """The ranks."""
        return _ranks(self.ranks)


def nodes_of(message: str) -> list[Node]:
    """What the lines of an error's text say of ranks; none where it is about something else."""
    found = []
    for match in _NODE.finditer(message):
        does, place = match["does"].rstrip(), ""
        if (at := _PLACE.search(does)) is not None:
            does, place = does[: at.start()].rstrip(), at[1]
        whom = _FOR.search(does) if match["colon"] is None else None
        waits_for = _ranks(whom[1]) if whom is not None else frozenset()
        found.append(Node(match["ranks"], does, place, waits_for))
    return found


def failure_graph(nodes: list[Node]) -> Any:
    """A figure: ranks on a circle, an arrow from who waits to whom it waits for."""
    from plotly import graph_objects

    places = [
        (math.sin(2 * math.pi * i / len(nodes)), math.cos(2 * math.pi * i / len(nodes)))
        for i in range(len(nodes))
    ]
    figure = graph_objects.Figure(
        graph_objects.Scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            mode="markers+text",
            text=[_label(node) for node in nodes],
            textposition=["top center" if y >= 0 else "bottom center" for _, y in places],
            hoverinfo="text",
            marker={
                "size": 26,
                "color": ["steelblue" if node.waits_for else "crimson" for node in nodes],
            },
            cliponaxis=False,
        )
    )
    for i, node in enumerate(nodes):
        for j, other in enumerate(nodes):
            if i != j and node.waits_for & other.members:
                _add_arrow(figure, places[i], places[j])
    is_wait = any(node.waits_for for node in nodes)
    title = "What failed: who waits for whom" if is_wait else "What failed: who launched what"
    figure.update_layout(title=title, height=2 * _RADIUS_PIXELS + 240, showlegend=False)
    figure.update_xaxes(visible=False, range=[-2.4, 2.4])
    figure.update_yaxes(visible=False, range=[-1.6, 1.6])
    return figure


def _add_arrow(figure: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    figure.add_annotation(
        x=end[0],
        y=end[1],
        ax=start[0],
        ay=start[1],
        xref="x",
        yref="y",
        axref="x",
        ayref="y",
        text="",
        showarrow=True,
        arrowhead=2,
        arrowsize=1.4,
        arrowwidth=1.6,
        standoff=16,
        startstandoff=16,
        arrowcolor="gray",
    )


def _label(node: Node) -> str:
    return f"<b>{plain(node.ranks)}</b><br>{plain(node.does)}<br>{plain(node.place)}"


def _ranks(text: str) -> frozenset[int]:
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
