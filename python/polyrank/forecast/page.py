"""A forecast as one HTML file that opens without a network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyrank.forecast.memory import owner_of
from polyrank.forecast.time_report import modules_over_time
from polyrank.output.html_page import page_text

if TYPE_CHECKING:
    from polyrank import _C
    from polyrank.forecast.running import Forecast

__all__ = ["write_page"]

_GIB = 2**30
_MOST_POINTS = 4000  # more than a screen has columns


def write_page(forecast: Forecast, path: Path) -> None:
    """Write the report, memory over time by owner, the modules at the peak as a tree, and times."""
    from polyrank.forecast.report import report_text

    pictures = [_over_time(forecast), _modules(forecast)]
    if forecast.timeline is not None:
        pictures.append(modules_over_time(forecast.time))
    title = f"rank {forecast.rank} of {forecast.world_size} on {forecast.cluster.name}"
    path.write_text(page_text(title, pictures, report_text(forecast)), encoding="utf-8")


def held_over_time(history: _C.MemoryHistory) -> list[tuple[int, dict[str, int]]]:
    """Bytes by owner after events, at most _MOST_POINTS of them: of each stretch the fullest."""
    pieces = history.pieces()
    events = history.events()
    held: Counter[str] = Counter()
    seen: set[int] = set()
    points: list[tuple[int, dict[str, int]]] = []
    stretch = max(1, -(-len(events) // _MOST_POINTS))
    fullest: tuple[int, int, dict[str, int]] | None = None
    for i, event in enumerate(events):
        piece = pieces[event.piece]
        held[owner_of(piece)] += -piece.bytes if event.piece in seen else piece.bytes
        seen.add(event.piece)
        total = held.total()
        if fullest is None or total > fullest[0]:
            fullest = (total, i, dict(held))
        if (i + 1) % stretch == 0 or i + 1 == len(events):
            points.append(fullest[1:])
            fullest = None
    return points


def _over_time(forecast: Forecast) -> Any:
    from plotly import graph_objects

    points = held_over_time(forecast.history)
    owners = Counter[str]()
    for _, held in points:
        owners |= Counter(held)
    figure = graph_objects.Figure()
    for owner, _ in owners.most_common():
        figure.add_scatter(
            x=[at for at, _ in points],
            y=[held.get(owner, 0) / _GIB for _, held in points],
            name=owner,
            stackgroup="held",
            line_shape="hv",
            line_width=0,
            hovertemplate="%{y:.2f} GiB",
        )
    figure.update_layout(
        title="Memory that is allocated, by owner",
        xaxis_title="event: something was allocated or freed",
        yaxis_title="GiB",
        hovermode="x unified",
    )
    return figure


def _modules(forecast: Forecast) -> Any:
    from plotly import graph_objects

    peak = forecast.memory.peak
    sizes: Counter[str] = Counter()
    for name, size in (peak.by_module if peak is not None else {}).items():
        parts = name.split(".")
        for length in range(len(parts) + 1):
            sizes[".".join(parts[:length])] += size
    names = list(sizes)
    figure = graph_objects.Figure(
        graph_objects.Icicle(
            ids=[f"/{name}" for name in names],
            labels=[name.rpartition(".")[2] or "all" for name in names],
            parents=[_parent(name) for name in names],
            values=[sizes[name] / _GIB for name in names],
            branchvalues="total",
            hovertemplate="%{id}<br>%{value:.3f} GiB<extra></extra>",
        )
    )
    figure.update_layout(title="What modules hold at the peak")
    return figure


def _parent(name: str) -> str:
    return f"/{name.rpartition('.')[0]}" if name else ""
