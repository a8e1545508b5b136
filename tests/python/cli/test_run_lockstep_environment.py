"""`polyrank run --world lockstep`: RANK and its like in the environment are each rank's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SUM = """
import os
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
def total(rank):
    x = torch.ones(1) * rank
    dist.all_reduce(x)
    return int(x.item())
"""


def run(folder: Path, text: str, ranks: int = 4) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(text)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "lockstep"]
    return subprocess.run(
        [*command, "--ranks", str(ranks), str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def output(folder: Path, text: str, ranks: int = 4) -> list[str]:
    done = run(folder, text, ranks)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_copies_of_the_environment_have_it(tmp_path: Path) -> None:
    copies = ("dict(os.environ)", "os.environ.copy()", "{**os.environ}", "dict(os.environ.items())")
    reading = "".join(f'print(total(int({copy}["RANK"])))\n' for copy in copies)
    assert output(tmp_path, SUM + reading) == ["6"] * 4


def test_there_may_be_many_ranks(tmp_path: Path) -> None:
    reading = """
print(total(int(os.environ["RANK"])), total(int(os.getenv("LOCAL_RANK", "-1"))), total(float(os.environ["RANK"])))
"""
    assert output(tmp_path, SUM + reading, ranks=64) == ["2016 2016 2016"]


def test_one_rank_has_plain_text(tmp_path: Path) -> None:
    assert output(tmp_path, 'import os\nprint(os.environ["RANK"] == "0")', ranks=1) == ["True"]


def test_text_is_compared_rank_by_rank(tmp_path: Path) -> None:
    done = run(tmp_path, 'import os, torch\nif os.environ.get("RANK") == "0": print("first")')
    assert done.returncode == 113
    assert "was compared" in done.stderr
    asked = 'import os, torch\nprint("RANK" in os.environ, os.environ["RANK"].isdigit())'
    assert output(tmp_path, asked) == ["True True"]


def test_the_program_may_take_it_out(tmp_path: Path) -> None:
    text = """
import os
saved = os.environ.copy()
os.environ.pop("RANK")
del os.environ["LOCAL_RANK"]
print("RANK" in os.environ, os.environ.get("LOCAL_RANK", "none"), len(os.environ) == len(list(os.environ)))
os.environ.update(saved)
print("RANK" in os.environ)
"""
    assert output(tmp_path, text) == ["False none True", "True"]


@pytest.mark.parametrize("environment", ["None", "dict(os.environ)", "os.environ.copy()"])
def test_child_processes_run_and_take_it_for_no_number(environment: str, tmp_path: Path) -> None:
    text = f"""
import os, subprocess, sys
def child(code):
    return subprocess.run([sys.executable, "-c", code], env={environment}, capture_output=True, text=True)
print(child("print(1)").stdout.strip())
print("invalid literal" in child("import os; int(os.environ['RANK'])").stderr)
"""
    assert output(tmp_path, text) == ["1", "True"]


def test_where_text_is_not_watched_reading_it_is_an_error(tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "reads_the_rank.py").write_text(
        "import os\ndef of_rank0(): return os.environ.get('RANK', '0') == '0'\n"
        "def copied(): return 'RANK' in dict(os.environ), 'RANK' in os.environ\n"
    )
    head = f"import sys\nsys.path.insert(0, {str(library)!r})\nimport reads_the_rank\n"
    assert output(tmp_path, head + "print(reads_the_rank.copied())") == ["(False, True)"]
    done = run(tmp_path, head + "reads_the_rank.of_rank0()")
    assert done.returncode == 113
    assert "the environment variable RANK has a value of its own on each rank" in done.stderr


AS_A_KEY = {
    "an entry": "{'0': 10}.get(os.environ['RANK'], 99)",
    "a set's": "os.environ['RANK'] in {'0'}",
    "of text that it is in": "{'rank 0': 10}.get(f\"rank {os.environ['RANK']}\", 99)",
    "asked for as a number before": "(lambda s: (int(s), {'0': 10}.get(s, 99)))(os.environ['RANK'])",
}


@pytest.mark.parametrize("key", AS_A_KEY.values(), ids=AS_A_KEY)
def test_it_is_no_key(key: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"{SUM}\n{key}\n")
    assert done.returncode == 113, done.stdout
    assert "was taken as a key" in done.stderr


def test_its_bytes_are_refused(tmp_path: Path) -> None:
    text = "import os, torch\nprint(b'RANK' in os.environb, b'RANK' in dict(os.environb), b'PATH' in dict(os.environb))\n"
    assert output(tmp_path, text) == ["True False True"]
    done = run(tmp_path, text + "os.environb.get(b'RANK')\n")
    assert done.returncode == 113
    assert "the environment variable RANK" in done.stderr


def test_mock_puts_it_back(tmp_path: Path) -> None:
    text = """
from unittest import mock
with mock.patch.dict(os.environ, {"RANK": "7"}):
    print(os.environ["RANK"])
with mock.patch.dict(os.environ, clear=True):
    print(os.environ.get("RANK"))
print(total(int(os.environ["RANK"])))
"""
    assert output(tmp_path, SUM + text) == ["7", "None", "6"]


def test_a_group_is_made_of_the_ranks_as_they_are(tmp_path: Path) -> None:
    text = """
import os
import torch.distributed as dist
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
dist.init_process_group("gloo", rank={rank}, world_size=size)
print(dist.get_world_size())
"""
    assert output(tmp_path, text.format(rank="rank")) == ["4"]
    for other in ("size - 1 - rank", "rank + 1", "rank % 2"):
        done = run(tmp_path, text.format(rank=other))
        assert done.returncode == 1
        assert "the script says that it is rank" in done.stderr
