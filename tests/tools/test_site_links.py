"""Links that lead out of the site's pages."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("site_links", ROOT / "scripts" / "site_links.py")
assert _spec is not None
assert _spec.loader is not None
site_links = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(site_links)


def test_files_are_named_and_pages_stay_links() -> None:
    text = "[a](../README.md), [README.md](../README.md), [b](run.md#x), [c](https://x.org/../y)"
    assert site_links.without_links_outside(text, ROOT / "docs") == (
        "a (`README.md`), `README.md`, [b](run.md#x), [c](https://x.org/../y)"
    )
    page = "[run](../run.md#gpus)"
    assert site_links.without_links_outside(page, ROOT / "docs" / "tutorials") == page


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        site_links.without_links_outside("[a](../nowhere.py)", ROOT / "docs")
