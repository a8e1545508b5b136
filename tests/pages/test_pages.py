"""The pages' code runs and prints what they say; the site has no dead link."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages.executed_page import blocks_of, faults_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TORCHTITAN = DOCS / "tutorials" / "torchtitan_on_a_laptop.md"
# As `make clients CLIENTS_FLAGS="--only torchtitan"` makes it.
PYTHON_WITH_TORCHTITAN = ROOT / "build" / "clients" / "torchtitan" / "bin" / "python"
EXECUTED = sorted(
    {ROOT / "README.md", DOCS / "quickstart.md", *(DOCS / "tutorials").glob("*.md")} - {TORCHTITAN}
)


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_what_a_page_prints_is_what_it_says(page: Path, tmp_path: Path) -> None:
    assert any(language == "console" for language, _, _ in blocks_of(page))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert not faults_of(page, tmp_path)


@pytest.mark.skipif(
    not PYTHON_WITH_TORCHTITAN.exists(), reason="make clients CLIENTS_FLAGS='--only torchtitan'"
)
def test_torchtitan_trains_as_the_tutorial_says(tmp_path: Path) -> None:
    assert not faults_of(TORCHTITAN, tmp_path, str(PYTHON_WITH_TORCHTITAN))


def test_the_tutorial_makes_what_the_client_makes() -> None:
    (made,) = [text for _, title, text in blocks_of(TORCHTITAN) if title == "assets.py"]
    client = (ROOT / "clients" / "programs" / "torchtitan_assets.py").read_text()
    assert client.endswith(f"\n\n{made}")


@pytest.mark.parametrize(
    ("console", "fault"),
    [
        ("$ python a.py\n2", "$ python a.py\nprints no line '2':\n1"),
        ("$ python a.py\n1\n…", "$ python a.py\nprints no line more:\n1"),
        ("$ python b.py", "$ python b.py\nends with 2:"),
    ],
)
def test_a_page_that_says_something_else_is_told(tmp_path: Path, console: str, fault: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f'```python title="a.py"\nprint(1)\n```\n\n```console\n$ python a.py\n1\n{console}\n```\n'
    )
    (found,) = faults_of(page, tmp_path)
    assert found.startswith(fault)


def test_each_page_is_found_from_the_index_and_the_navigation() -> None:
    index = (DOCS / "README.md").read_text()
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS).as_posix()
        if name != "README.md":
            assert f"({name})" in index, f"docs/README.md does not name {name}"
            assert re.search(rf" {re.escape(name)}$", navigation, re.MULTILINE), name


def test_the_site_builds_and_no_link_is_dead(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "s"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"},
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path / "s"
    assert (site / "search" / "search_index.json").is_file()
    reference = (site / "reference" / "index.html").read_text()
    for name in ("polyrank.lockstep", "polyrank.run_ranks", "polyrank.trace"):
        assert name.rpartition(".")[2] in reference
    pages = [page.read_text() for page in site.rglob("*.html")]
    # Nothing is fetched from elsewhere.
    assert not any(re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", page) for page in pages)
    shutil.rmtree(site)
