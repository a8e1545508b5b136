"""The page of a run: its parts, and how a browser shows it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.output.html_page import page_text
from polyrank.run_report.page import run_page
from polyrank.run_report.recorded import Recorded
from run_report.launches import launch

pytest.importorskip("plotly")

SCRIPT = """
import sys
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
x = torch.ones(8) * dist.get_rank()
dist.all_reduce(x)
if "--hang" in sys.argv:
    dist.recv(x, 1 - dist.get_rank())
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, "-m", "polyrank", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_run_and_report_write_the_same_pictures(tmp_path: Path) -> None:
    ranks = ("run", "--world", "lockstep", "--ranks", "4")
    done = run(tmp_path, *ranks, "--html", "run.html", "--trace", "trace.json", "script.py")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run.html").read_text()
    assert "<h1>script.py on 4 ranks, world lockstep</h1>" in page
    for title in ("Timeline of 1 launches", "Bytes on the wire by group", "Cohorts: how many"):
        assert title in page
    assert "<th>exit code</th><td>0</td>" in page
    done = run(tmp_path, "report", "trace.json", "--html", "again.html")
    assert done.returncode == 0, done.stderr
    assert "Timeline of 1 launches" in (tmp_path / "again.html").read_text()
    done = run(tmp_path, "report", "trace.json")
    assert "all_reduce" in done.stdout
    done = run(tmp_path, "report", "script.py")
    assert done.returncode == 2
    assert "is no trace" in done.stderr


def test_without_plotly_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "plotly.py").write_text("raise ImportError")
    done = run(tmp_path, "run", "--ranks", "2", "--html", "run.html", "script.py")
    assert done.returncode == 2
    assert "pip install plotly" in done.stderr
    assert done.stderr.count("--html") == 1


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_deadlock_is_drawn(tmp_path: Path, world: str) -> None:
    ranks = ("run", "--world", world, "--ranks", "2", "--html", "run.html", "script.py", "--hang")
    assert run(tmp_path, *ranks).returncode == 114
    page = (tmp_path / "run.html").read_text()
    assert "What failed: who waits for whom" in page
    assert "<th>exit code</th><td>114</td>" in page


def test_text_of_programs_is_no_markup() -> None:
    told = {"type": "ValueError", "message": "<script>alert(1)</script>"}
    facts = {"script": "<b>.py", "arguments": [], "world": "threads", "world_size": 1}
    numbers = {"exit_code": 1, "seconds": 1.0, "peak_memory_bytes": 1, "rank_calls": 0}
    run_facts = {**facts, **numbers, "num_processes": 1, "error": told}
    page = run_page(Recorded([launch(module="<i>m")], run_facts))
    assert "<script>alert" not in page
    assert "<b>.py" not in page
    assert "<i>m" not in page


def many_ranks(num_ranks: int, steps: int) -> str:
    launches = [
        launch(str(rank), 1000.0 * step + rank, module=f"layers.{step}", sequence=step)
        for step in range(steps)
        for rank in range(num_ranks)
    ]
    return run_page(Recorded(launches))


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium (Debian: chromium)")
@pytest.mark.parametrize("num_ranks", [8, 512])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_draws_it_without_an_error(tmp_path: Path, num_ranks: int, theme: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(many_ranks(num_ranks, 10))
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if theme == 'dark' else 1}",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    drawn = done.stdout
    assert drawn.count('class="point"') >= num_ranks * 10  # a bar for each launch
    assert "heatmaplayer" in drawn
    background = "rgb(18, 18, 18)" if theme == "dark" else "rgb(255, 255, 255)"
    assert f"background: {background}" in drawn


def test_a_page_without_pictures_needs_no_drawing() -> None:
    page = page_text("a & b", [], "report")
    assert "<h1>a &amp; b</h1>" in page
    assert len(page) < 4000
