"""Reports as one HTML file that opens without a network, in light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from polyrank.errors import UsageError

__all__ = ["check_page_can_be_written", "page_text", "plain"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1500px; padding: 0 1rem; }
h1 { font-size: 1.35rem; }
table { border-collapse: collapse; margin-bottom: 1rem; }
th, td { text-align: left; vertical-align: top; padding: 0.15rem 1.2rem 0.15rem 0; }
th { font-weight: 600; }
pre { font-size: 13px; overflow-x: auto; white-space: pre; }
.plotly-graph-div { margin-bottom: 1.5rem; }
"""

# What the reader's system is set to, and what it is set to later while the page is open.
_THEME = """
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function takeTheme() {
  const text = dark.matches ? "#e8e8e8" : "#222", grid = dark.matches ? "#3a3a3a" : "#e2e2e2";
  const page = dark.matches ? "#121212" : "#ffffff";
  document.body.style.background = page;
  document.body.style.color = text;
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const changed = {
      "paper_bgcolor": page, "plot_bgcolor": page, "font.color": text,
      "legend.bgcolor": page, "hoverlabel.bgcolor": page, "hoverlabel.font.color": text,
    };
    for (const axis of Object.keys(plot.layout).filter((name) => /^[xy]axis/.test(name))) {
      for (const line of ["gridcolor", "linecolor", "zerolinecolor"]) changed[axis + "." + line] = grid;
    }
    Plotly.relayout(plot, changed);
  }
}
dark.addEventListener("change", takeTheme);
takeTheme();
"""
# Wheels zoom, double clicks show all again; the logo would be a link.
_CONFIG = {"displaylogo": False, "responsive": True, "scrollZoom": True}


def check_page_can_be_written() -> None:
    """Raise UsageError if the package that draws is not there."""
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise UsageError("the page is drawn with plotly 6 or later: pip install plotly") from error


def page_text(
    title: str,
    pictures: Sequence[Any],
    report: str,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The page: facts, pictures, which are plotly's figures, and the report as it is printed."""
    import plotly.io
    from plotly.offline import get_plotlyjs

    drawn = [
        plotly.io.to_html(_for_any_theme(picture), _CONFIG, include_plotlyjs=False, full_html=False)
        for picture in pictures
    ]
    cells = [(html.escape(name), html.escape(value)) for name, value in facts]
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<script>{get_plotlyjs()}</script>" if drawn else "",
        f"</head><body><h1>{html.escape(title)}</h1>",
        f"<table>{''.join(f'<tr><th>{n}</th><td>{v}</td></tr>' for n, v in cells)}</table>"
        if cells
        else "",
        *drawn,
        f"<pre>{html.escape(report)}</pre>" if report else "",
        f"<script>{_THEME}</script></body></html>\n",
    ]
    return "".join(parts)


def plain(text: str) -> str:
    """Text without what plotly takes for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_any_theme(picture: Any) -> Any:
    """The figure with a template that has no colors of paper, which the page sets."""
    picture.update_layout(template="plotly_white", margin={"l": 60, "r": 30, "t": 70, "b": 60})
    return picture
