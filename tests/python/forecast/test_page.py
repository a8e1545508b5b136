"""The report as a page: what it draws is what the history says, and it needs no network."""

from __future__ import annotations

import re
from pathlib import Path

import polyrank
import pytest
import torch
from polyrank.forecast import page
from polyrank.forecast.running import Forecast
from polyrank.forecast.time_report import modules_over_time
from torch import nn


def trained() -> Forecast:
    with polyrank.forecast() as f:
        with torch.device("cuda"):
            model = nn.Sequential(
                *(nn.Sequential(nn.Linear(256, 256), nn.GELU()) for _ in range(3))
            )
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            model(torch.randn(64, 256, device="cuda")).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return f


@pytest.mark.parametrize("most_points", [4000, 7])
def test_points_are_what_the_allocator_held(
    most_points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_MOST_POINTS", most_points)
    f = trained()
    events = f.history.events()
    points = page.held_over_time(f.history)
    assert len(points) <= most_points
    for at, held in points:
        assert sum(held.values()) == events[at].allocated
    # The fullest moment is among them, however few there are.
    assert max(sum(held.values()) for _, held in points) == f.memory.peak_allocated
    assert f.memory.peak is not None
    fullest = max(points, key=lambda point: sum(point[1].values()))[1]
    assert {owner: size for owner, size in fullest.items() if size} == f.memory.peak.by_owner


def test_modules_are_a_tree_whose_branches_add_up() -> None:
    pytest.importorskip("plotly")
    f = trained()
    assert f.memory.peak is not None
    (tree,) = page._modules(f).data
    sizes = dict(zip(tree.ids, tree.values, strict=True))
    parents = dict(zip(tree.ids, tree.parents, strict=True))
    assert sizes["/"] * 2**30 == pytest.approx(sum(f.memory.peak.by_module.values()))
    assert parents["/"] == ""
    assert set(parents.values()) <= {*sizes, ""}
    for name, size in sizes.items():
        children = [sizes[child] for child, parent in parents.items() if parent == name]
        assert sum(children) <= size + 1e-9


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    f = trained()
    file = tmp_path / "a page.html"
    page.write_page(f, file)
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", text)
    assert "optimizer states" in text
    assert "rank 0 of 1 on dgx-h100" in text
    assert text.count("Plotly.newPlot(") >= 2


def test_times_are_a_bar_for_each_module() -> None:
    pytest.importorskip("plotly")
    with polyrank.forecast(time=True) as f:
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)).cuda()
        model(torch.randn(8, 64, device="cuda")).sum().backward()
    computing, exposed = modules_over_time(f.time).data
    assert {"0", "1"} <= set(computing.x)
    assert list(exposed.y) == [0] * len(exposed.x)
    total = sum(sums.compute_ns for sums in f.time.whole.by_operator.values())
    assert sum(computing.y) == pytest.approx(total * 1e-6)
