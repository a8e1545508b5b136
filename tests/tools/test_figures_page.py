"""The page of benchmarks' figures, and that a site has it."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("plotly")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """benchmarks/figure.py and figures_page.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    found = []
    for name in ("figure", "figures_page"):
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        found.append(module)
    return found[0], found[1]


def test_each_figure_is_drawn_beside_its_peer_and_budget(
    modules: tuple[object, object], tmp_path: Path
) -> None:
    figure, page = modules
    results = [
        figure.Figure(
            "operators", "add <8>", 4e-6, "seconds", 8, 2e-6, "plain add", 1e-4, budget=6
        ),
        figure.Figure("operators", "add", 4e-6, "seconds", 1),
        figure.Figure("memory", "a rank", 2.0**20, "bytes"),
        figure.Skipped("boxed", "there is no program"),
    ]
    page.write_page(results, tmp_path / "new" / "figures.html")
    text = (tmp_path / "new" / "figures.html").read_text()
    for told in ("operators: times plain add", "memory: bytes", "LocalTensorMode", "budget"):
        assert told in text
    assert "add &lt;8&gt;, 8 ranks" in text or "add \\u0026lt;8\\u0026gt;, 8 ranks" in text
    assert "add, 1 rank" in text
    assert "1 ranks" not in text
    assert "boxed: there is no program" in text
    assert '"x":[2.0]' in text.replace(" ", "")
