"""Snippets of documents that are no whole programs: Python is run, commands and settings are those that there are."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pages.around import AROUND, IMPORTS
from pages.executed_page import blocks_of
from polyrank.cli import app as cli
from polyrank.cli.settings import SettingsFile, defaults

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Beside PyTorch's simulator: tests/oracle runs what it says.
ELSEWHERE = {"differences"}


def snippets(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for found, title, text in blocks_of(page):
            if found == language and not title and page.stem not in ELSEWHERE:
                yield page, text


PYTHON = list(snippets("python"))
# What stands in `console` is run: test_pages.py. Of torchtitan, where that is.
SHELL = [
    pytest.param(line, id=f"{page.stem}: {line[:50]}")
    for language in ("sh", "console")
    for page, text in snippets(language)
    if language == "sh" or page.stem == "torchtitan_on_a_laptop"
    for whole in text.replace("\\\n", " ").splitlines()
    if (line := re.sub(r"^\$ .*?python -m (?=polyrank)", "", whole)).startswith(
        ("polyrank ", "make ")
    )
]


def program_of(page: Path, text: str) -> str:
    """The snippet in what stands around it."""
    around = [
        found
        for (name, start), found in AROUND.items()
        if name == page.stem and text.startswith(start)
    ] or ["SNIPPET\n"]
    (template,) = around
    found = re.search(r"^( *)SNIPPET$", template, re.MULTILINE)
    assert found is not None
    return IMPORTS + template.replace(found[0], textwrap.indent(text.rstrip(), found[1]))


@pytest.mark.parametrize(
    ("page", "text"), PYTHON, ids=[f"{page.stem}-{text[:20]!r}" for page, text in PYTHON]
)
def test_a_python_snippet_runs(page: Path, text: str, tmp_path: Path) -> None:
    program = program_of(page, text)
    (tmp_path / "test_snippet.py").write_text(program)
    as_tests = ["-m", "pytest", "-q"] if "def test_" in program else []
    done = subprocess.run(
        [sys.executable, *as_tests, "test_snippet.py"],
        cwd=tmp_path,
        env=os.environ | {"MASTER_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{program}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_what_stands_around_snippets_has_one_each() -> None:
    for name, start in AROUND:
        assert any(page.stem == name and text.startswith(start) for page, text in PYTHON), start


@pytest.mark.parametrize("line", SHELL)
def test_a_command_is_one_that_there_is(line: str) -> None:
    words = shlex.split(re.split(r" \| | > ", line)[0], comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
        return
    cli.load_commands()
    command: Any = typer.main.get_command(cli.app)
    words = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("polyrank", words)


def test_settings_are_those_that_there_are() -> None:
    for page, text in snippets("toml"):
        tables = tomllib.loads(text)
        if "tool" not in tables:
            continue
        cli.load_commands()
        file = SettingsFile(page, "tool.polyrank", tables["tool"]["polyrank"])
        for command in file.tables:
            assert defaults(cli.app, command, file, {})[command]
