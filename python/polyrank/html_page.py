"""Reports as one HTML file that opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from polyrank.errors import UsageError

__all__ = ["check_page_can_be_written", "page_text"]


def check_page_can_be_written() -> None:
    """Raise UsageError if the package that draws is not there."""
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise UsageError("--html draws with plotly: pip install polyrank[html]") from error


def page_text(title: str, pictures: Sequence[Any], report: str) -> str:
    """The page: pictures, which are plotly's figures, and the report as it is printed."""
    import plotly.io
    from plotly.offline import get_plotlyjs

    parts = [
        plotly.io.to_html(picture, include_plotlyjs=False, full_html=False) for picture in pictures
    ]
    script = f"<script>{get_plotlyjs()}</script>" if parts else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"{script}</head><body>{''.join(parts)}<pre>{html.escape(report)}</pre></body></html>\n"
    )
