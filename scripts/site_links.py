"""A hook of `make site`: links to files of the checkout that are no pages become their names.

What such a link names must be there: where the site is read, nobody has the checkout to look it up in.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """MkDocs calls it with each page's text."""
    return without_links_outside(markdown, Path(page.file.abs_src_path).parent)


def without_links_outside(markdown: str, folder: Path) -> str:
    """The text, with the names of files where it had links to them.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def named(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{link[0]} names what is not there")
        name = target.relative_to(ROOT).as_posix()
        text = link[1].strip("`")
        return f"`{name}`" if text == name else f"{link[1]} (`{name}`)"

    return _LINK.sub(named, markdown)
