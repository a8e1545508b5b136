"""`polyrank run`: what a program registers with `atexit`, in each world."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
"""

SUMS = """
def tell(what):
    x = torch.ones(2) * (rank + 1)
    dist.all_reduce(x)
    print(what, x.tolist(), flush=True)
atexit.register(tell, what="first in")
@atexit.register
def last_in(): tell("last in")
never = lambda: print("never")
atexit.register(never)
atexit.unregister(never)
"""


def run(folder: Path, text: str, world: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(HEAD + text)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", world, "--ranks", "4"]
    return subprocess.run(
        [*command, str(script)], capture_output=True, text=True, check=False, timeout=120
    )


def printed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of standard output without the rank's prefix."""
    return [line.rpartition("]: ")[2] for line in done.stdout.splitlines()]


WORLDS = {"lockstep": 1, "threads": 4, "processes": 4}  # and how often each line is printed


@pytest.mark.parametrize(
    ("world", "ending"),
    [
        ("lockstep", ""),
        ("lockstep", "sys.exit(5)\n"),
        ("threads", "sys.exit(0)\n"),
        ("threads", "sys.exit(5)\n"),
        ("processes", "sys.exit(5)\n"),
    ],
)
def test_it_is_called_while_the_group_is_there(world: str, ending: str, tmp_path: Path) -> None:
    done = run(tmp_path, SUMS + ending, world)
    assert (done.returncode == 0) is ("5" not in ending), done.stderr
    lines = [line for line in printed(done) if " in [" in line]
    assert lines.count("last in [10.0, 10.0]") == WORLDS[world], done.stderr
    assert lines.count("first in [10.0, 10.0]") == WORLDS[world]
    assert lines[0].startswith("last in")
    assert "never" not in done.stdout


@pytest.mark.parametrize("world", WORLDS)
def test_what_it_raises_is_shown_and_ends_nothing(world: str, tmp_path: Path) -> None:
    text = "atexit.register(print, 'went on')\natexit.register(lambda: 1 / 0)\n"
    done = run(tmp_path, text, world)
    assert done.returncode == 0, done.stderr
    assert printed(done).count("went on") == WORLDS[world]
    assert "atexit callback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("world", WORLDS)
def test_it_is_called_after_a_failure(world: str, tmp_path: Path) -> None:
    done = run(tmp_path, "atexit.register(print, 'cleaned up')\nraise KeyError('cause')\n", world)
    assert done.returncode not in (0, 113)
    assert "cleaned up" in done.stdout
    assert "KeyError: 'cause'" in done.stderr


def test_ranks_that_part_there_fail_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "atexit.register(lambda: bool(rank == 0))\n", "lockstep")
    assert done.returncode == 113
    assert "DivergenceError" in done.stderr


def test_the_fake_world_calls_it(tmp_path: Path) -> None:
    done = run(tmp_path, "atexit.register(lambda: print(dist.get_world_size()))\n", "fake")
    assert printed(done)[0] == "4", done.stderr


@pytest.mark.parametrize("world", WORLDS)
def test_threads_are_waited_for_before(world: str, tmp_path: Path) -> None:
    text = (
        "def work():\n"
        "    time.sleep(0.3)\n"
        "    x = torch.ones(1) * rank\n"
        "    dist.all_reduce(x)\n"
        "    print('worked', x.item(), flush=True)\n"
        "atexit.register(lambda: print('exit', flush=True))\n"
    )
    text += "ThreadPoolExecutor(1).submit(work)\n"
    done = run(tmp_path, text, world)
    assert done.returncode == 0, done.stderr
    lines = [line for line in printed(done) if line in ("worked 6.0", "exit")]
    assert lines.count("worked 6.0") == lines.count("exit") == WORLDS[world]
    assert lines[0] == "worked 6.0"


@pytest.mark.parametrize("world", WORLDS)
def test_pools_of_processes_end_with_their_rank(world: str, tmp_path: Path) -> None:
    text = (
        "import builtins, multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork'))\n"
        "    builtins.kept = pool\n"  # nobody shuts it down
        "    pool.submit(abs, -1).result()\n"
        "    if rank == 3:\n"
        "        dist.recv(torch.ones(1), 0)\n"  # the others have ended then, or soon will
        "        time.sleep(0.5)\n"
        "        print('got', pool.submit(abs, -2).result(), flush=True)\n"
        "    elif rank == 0:\n"
        "        dist.send(torch.ones(1), 3)\n"
    )
    if world == "lockstep":
        text = (
            text[: text.index("    if rank")] + "    print('got', pool.submit(abs, -2).result())\n"
        )
    done = run(tmp_path, text, world)
    assert done.returncode == 0, done.stderr
    assert printed(done).count("got 2") == 1


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_ranks_of_run_ranks_call_it_at_their_end(world: str) -> None:
    program = (
        "import atexit\n"
        "import torch\n"
        "import torch.distributed as dist\n"
        "from polyrank import run_ranks\n"
        "def tell():\n"
        "    x = torch.ones(1)\n"
        "    dist.all_reduce(x)\n"
        "    print('sum', x.item(), flush=True)\n"
        "def body():\n"
        "    atexit.register(tell)\n"
        f"run_ranks(body, 3, world={world!r})\n"
        "print('over', flush=True)\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split("\n")[:-1] == [*["sum 3.0"] * 3, "over"], done.stderr
