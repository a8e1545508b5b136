"""Pages, read."""

from __future__ import annotations

from pathlib import Path


def page_without_scripts(file: Path) -> str:
    """What a page has below its head, which loads nothing from elsewhere."""
    page = file.read_text()
    assert "<script src" not in page
    head, _, body = page.partition("</head>")
    assert "plotly.js" in head
    assert "src=" not in body
    return body
