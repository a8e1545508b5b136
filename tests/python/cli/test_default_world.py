"""Which world runs a script that names none, and what is imported before its ranks are forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from polyrank.process_ranks.room import why_no_room
from polyrank.world import default_world, find_world

GIB = 2**30


@pytest.fixture
def free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))


@pytest.mark.usefixtures("free_memory")
def test_processes_unless_an_option_or_memory_says_threads() -> None:
    def chosen(world_size: int, *options: str) -> tuple[str, str | None]:
        world, reason = default_world(world_size, frozenset(options))
        return world.name, reason

    assert chosen(8) == ("processes", None)
    assert chosen(8, "log_dir", "timeout") == ("processes", None)
    assert chosen(8, "schedule", "seed", "log_dir") == ("processes", None)
    assert chosen(8, "own_module", "schedules") == ("threads", None)
    assert chosen(200) == (
        "threads",
        "200 processes take 12.5 GiB of memory or more, and 8.0 GiB are free",
    )
    assert chosen(8, "rank")[0] == "processes"  # neither takes it: the first says so


@pytest.mark.usefixtures("free_memory")
def test_who_asks_for_processes_gets_them_while_they_fit() -> None:
    world = find_world("processes")
    assert world.why_no_room(200) is None
    assert world.why_no_room(1000) == (
        "1,000 processes take 11.7 GiB of memory or more, and 8.0 GiB are free"
    )


def test_elsewhere_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert why_no_room(2, is_asked_for=True) == "ranks that are processes need Linux"


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "polyrank", "run", "--ranks", "2", *options, "program.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


def test_each_rank_is_a_process_and_has_what_was_preloaded(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text("import os\nIMPORTED_BY = os.getpid()\n")
    done = run(
        tmp_path,
        "import os, large\nprint(os.getppid() == large.IMPORTED_BY, os.getpid())\n",
        "--preload",
        "large",
    )
    assert done.returncode == 0, done.stderr
    lines = {line.split(": ")[1] for line in done.stdout.splitlines()}
    assert len(lines) == 2
    assert all(line.startswith("True") for line in lines)


def test_a_module_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    done = run(tmp_path, "print('runs')\n", "--preload", "no_such")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("--preload: No module named 'no_such'\n")
