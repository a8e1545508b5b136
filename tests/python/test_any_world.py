"""examples/any_world.py is one program in all worlds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "any_world.py"
RUN = ("polyrank.cli", "run", "--world")
OF_ALL_RANKS = {
    "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    "real": (*RUN, "real", "--ranks", "2"),
    "lockstep": (*RUN, "lockstep", "--ranks", "2"),
    "threads": (*RUN, "threads", "--ranks", "2"),
    "processes": (*RUN, "processes", "--ranks", "2"),
}
LINE = "y = 2.9997561 x + 1.00028956"  # two summands each: the same in any order


def lines_of(*launcher: str) -> list[str]:
    done = subprocess.run(
        (sys.executable, "-m", *launcher, str(EXAMPLE)),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("world", OF_ALL_RANKS)
def test_each_rank_prints_the_same_line_in_each_world(world: str) -> None:
    lines = lines_of(*OF_ALL_RANKS[world])
    assert [line.partition("]: ")[2] or line for line in lines] == [LINE] * (
        1 if world == "lockstep" else 2
    )


def test_one_rank_of_a_million() -> None:
    (line,) = lines_of(*RUN, "fake", "--ranks", "1000000", "--rank", "17")
    assert line.startswith("y = 2.89")


def test_a_process_may_enter_one_world_after_the_other() -> None:
    """What is intercepted of Python's functions is one table for all of them."""
    program = (
        "import polyrank, torch.distributed as dist\n"
        "with polyrank.lockstep(2):\n"
        "    assert str(dist.get_rank()).isdigit()\n"
        "assert polyrank.run_ranks(lambda: dist.get_rank(), 2) == [0, 1]\n"
        "with polyrank.lockstep(2), polyrank.virtual_gpu(1):\n"
        "    assert str(dist.get_rank()).isdigit()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
