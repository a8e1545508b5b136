"""A hook of `make site`: the C++ headers as doxygen renders them, and links to files of the checkout that are no pages.

A link to a header leads to its page, where doxygen is installed. Others become names: where the site is read, nobody has
the checkout to look them up in. What a link names must be there.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")
_HEADERS = "headers"  # the folder of the site
_RENDERED = ROOT / "build" / "docs" / "html"
FIGURES = ROOT / "build" / "bench" / "figures.html"
_has_headers = shutil.which("doxygen") is not None


def on_files(files: Any, *, config: Any, **_: Any) -> Any:
    """MkDocs calls it with what the site will have."""
    if FIGURES.exists():  # `make bench` was run in this checkout
        files.append(File.generated(config, "figures.html", abs_src_path=str(FIGURES)))
    if not _has_headers:
        logging.getLogger("mkdocs").info("doxygen is not installed: the site has no C++ headers")
        return files
    _RENDERED.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["doxygen", "docs/Doxyfile"], cwd=ROOT, check=True)  # noqa: S607
    for file in sorted(_RENDERED.rglob("*")):
        if file.is_file():
            name = f"{_HEADERS}/{file.relative_to(_RENDERED).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """MkDocs calls it with each page's text."""
    return without_links_outside(markdown, Path(page.file.abs_src_path).parent)


def page_of_header(header: Path) -> str:
    """What doxygen calls it."""
    return f"{header.name.replace('_', '__').replace('.', '_8')}.html"


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
        if _has_headers and target.suffix == ".h" and target.is_relative_to(ROOT / "cpp"):
            up = "../" * len(folder.relative_to(ROOT / "docs").parts)
            return f"[{link[1]}]({up}{_HEADERS}/{page_of_header(target)})"
        name = target.relative_to(ROOT).as_posix()
        text = link[1].strip("`")
        return f"`{name}`" if text == name else f"{link[1]} (`{name}`)"

    return _LINK.sub(named, markdown)
