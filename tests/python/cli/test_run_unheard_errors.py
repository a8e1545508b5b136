"""`polyrank run --world lockstep`: a DivergenceError that the program takes for its own does not go unheard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import contextlib, itertools, threading
from concurrent.futures import ThreadPoolExecutor
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
"""

TAKEN = {
    "bare": "try:\n    if rank == 0: print('first')\nexcept:\n    pass\n",
    "suppressed": "with contextlib.suppress(BaseException):\n    bool(rank == 0)\n",
    "in_a_future": "kept = ThreadPoolExecutor(1).submit(lambda: bool(rank == 0))\n",
    "under_another": "try:\n    try:\n        bool(rank == 0)\n    except BaseException as e:\n        raise KeyError from e\n"
    "except KeyError:\n    pass\n",
    "with_an_error_of_its_own": "import shutil\ntry:\n    bool(rank == 0)\nexcept shutil.Error:\n    pass\nexcept:\n    pass\n",
    "without_its_trace": "kept = []\ntry:\n    bool(rank == 0)\nexcept BaseException as e:\n    kept.append(e.with_traceback(None))\n",
    "by_torch_script": "@torch.jit.script\ndef f(x):\n    if bool(x.sum() > 0):\n        return x + 1\n    return x - 1\n"
    "try:\n    f(torch.ones(2) * rank)\nexcept RuntimeError:\n    pass\n",
    "in_a_finalizer": "class C:\n    def __del__(self): bool(rank == 0)\nc = C(); del c\n",
}

HEARD = {
    "by_name": "import polyrank\ntry:\n    bool(rank == 0)\nexcept polyrank.DivergenceError:\n    pass\n",
    "as_error": "import polyrank\ntry:\n    bool(rank == 0)\nexcept polyrank.Error:\n    pass\n",
    "under_another_name": "from polyrank import DivergenceError as Parted\ntry:\n    bool(rank == 0)\nexcept Parted:\n    pass\n",
    "in_a_tuple": "import polyrank\nPARTED = (ValueError, polyrank.DivergenceError)\n"
    "try:\n    bool(rank == 0)\nexcept PARTED:\n    pass\n",
    "as_an_argument": "import polyrank\ndef attempt(kind):\n    try:\n        bool(rank == 0)\n    except kind:\n        pass\n"
    "attempt(polyrank.DivergenceError)\n",
    "by_unittest": "import polyrank, unittest\n"
    "with unittest.TestCase().assertRaises(polyrank.DivergenceError):\n    bool(rank == 0)\n",
    "none": "x = torch.ones(2) * rank\nprint(f'{rank}', x)\n",
}


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(HEAD + text + "print('end')\n")
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "lockstep", "--ranks", "4"]
    return subprocess.run(
        [*command, str(script)], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_it_is_told_at_the_end(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, text)
    assert "end" in done.stdout
    assert done.returncode == 113, done.stderr
    assert "ranks parted, and the program did not hear of it" in done.stderr
    assert "script.py:" in done.stderr


def test_what_c_code_clears_is_told(tmp_path: Path) -> None:
    text = "try:\n    list(itertools.islice('abcd', rank))\nexcept ValueError:\n    pass\n"
    done = run(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert "ranks parted, and the program did not hear of it" in done.stderr
    assert "a function written in C" in done.stderr


def test_what_c_code_tries_first_is_heard_with_what_it_says_then(tmp_path: Path) -> None:
    text = "import numpy, polyrank\ntry:\n    numpy.arange(4)[rank]\nexcept polyrank.DivergenceError:\n    pass\n"
    done = run(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert "ranks parted" not in done.stderr


ENDED = {
    "a thread": "t = threading.Thread(target=lambda: bool(rank == 0))\nt.start(); t.join()\nprint('on')\n",
    "one that is waited for": "import queue\nq = queue.Queue()\n"
    "threading.Thread(target=lambda: q.put(bool(rank == 0)), daemon=True).start()\nq.get()\nprint('on')\n",
}


@pytest.mark.parametrize("text", ENDED.values(), ids=ENDED)
def test_one_that_ends_a_thread_ends_the_run(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, text)
    assert done.returncode == 113, done.stderr
    assert "ranks disagree about a branch" in done.stderr


def test_an_exit_of_the_programs_hides_nothing(tmp_path: Path) -> None:
    for handler in (
        "except BaseException:\n    raise SystemExit(0)",
        "finally:\n    raise SystemExit(0)",
    ):
        done = run(tmp_path, f"try:\n    bool(rank == 0)\n{handler}\n")
        assert done.returncode == 113, done.stderr
        assert "ranks parted" in done.stderr


def test_an_exit_code_of_the_programs_own_is_kept(tmp_path: Path) -> None:
    assert run(tmp_path, TAKEN["bare"] + "raise SystemExit(0)\n").returncode == 113
    done = run(tmp_path, TAKEN["bare"] + "raise SystemExit(7)\n")
    assert done.returncode == 7
    assert "ranks parted" in done.stderr


@pytest.mark.parametrize("text", HEARD.values(), ids=HEARD)
def test_a_program_that_hears_of_it_ends_well(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert "ranks parted" not in done.stderr
