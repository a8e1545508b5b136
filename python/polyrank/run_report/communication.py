"""Who sends how much: bytes on the wire of all ranks together, by group, kind and module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from polyrank.output.html_page import plain
from polyrank.run_report.recorded import Launch

__all__ = ["bytes_by_group", "bytes_by_group_and_module", "sent"]

_MOST_MODULES = 40
_OTHERS = "other modules"
_NO_MODULE = "(no module)"
_MIB = 2**20


def sent(launches: Sequence[Launch]) -> Counter[tuple[str, str, str]]:
    """Bytes by group, kind and module. A launch of all ranks at once counts for each of them."""
    found: Counter[tuple[str, str, str]] = Counter()
    for one in launches:
        key = one.group, one.kind, one.module or _NO_MODULE
        found[key] += one.wire_bytes * one.num_ranks
    return found


def bytes_by_group(launches: Sequence[Launch]) -> Any:
    """Bars: a group each, its kinds of collectives on top of each other."""
    from plotly import graph_objects

    by_group: Counter[tuple[str, str]] = Counter()
    for (group, kind, _), size in sent(launches).items():
        by_group[group, kind] += size
    totals: Counter[str] = Counter()
    for (group, _), size in by_group.items():
        totals[group] += size
    groups = [group for group, _ in totals.most_common()]
    figure = graph_objects.Figure()
    for kind in sorted({kind for _, kind in by_group}):
        figure.add_bar(
            name=kind,
            x=[plain(group) for group in groups],
            y=[by_group[group, kind] / _MIB for group in groups],
            hovertemplate="%{x}: %{y:,.3f} MiB",
        )
    figure.update_layout(
        title="Bytes on the wire by group, all ranks together",
        barmode="stack",
        yaxis_title="MiB",
        height=360,
    )
    figure.update_xaxes(type="category")
    return figure


def bytes_by_group_and_module(launches: Sequence[Launch]) -> Any:
    """A matrix: modules below each other, groups beside each other."""
    from plotly import graph_objects

    cells: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    for (group, _, module), size in sent(launches).items():
        cells[module, group] += size
        totals[module] += size
    modules = [module for module, _ in totals.most_common(_MOST_MODULES)]
    if len(totals) > _MOST_MODULES:
        kept = set(modules)
        for (module, group), size in list(cells.items()):
            if module not in kept:
                cells[_OTHERS, group] += size
        modules.append(_OTHERS)
    groups = sorted({group for _, group in cells})
    figure = graph_objects.Figure(
        graph_objects.Heatmap(
            x=[plain(group) for group in groups],
            y=[plain(module) for module in modules],
            # No cell where nothing is sent: a zero would look like a little.
            z=[[cells[module, group] / _MIB or None for group in groups] for module in modules],
            colorscale="Viridis",
            colorbar_title="MiB",
            hoverongaps=False,
            hovertemplate="%{y}<br>%{x}: %{z:,.3f} MiB<extra></extra>",
        )
    )
    figure.update_layout(
        title="Bytes on the wire by module and group, all ranks together",
        height=min(max(24 * len(modules) + 160, 280), 1200),
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure
