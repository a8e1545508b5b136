"""Links that lead out of the site's pages."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
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


@pytest.mark.parametrize("has_headers", [True, False])
def test_headers_lead_to_their_pages_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch, has_headers: bool
) -> None:
    monkeypatch.setattr(site_links, "_has_headers", has_headers)
    header = "cpp/polyrank/api/run_ranks.h"
    found = site_links.without_links_outside(f"[ranks](../{header})", ROOT / "docs")
    assert found == (
        "[ranks](headers/run__ranks_8h.html)" if has_headers else f"ranks (`{header}`)"
    )


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        site_links.without_links_outside("[a](../nowhere.py)", ROOT / "docs")
