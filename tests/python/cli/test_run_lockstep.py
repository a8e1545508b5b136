"""`polyrank run --world lockstep` and `fake`: what programs ask of their process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

READING = """
import os
import torch
import torch.distributed as dist
print("RANK", os.environ["RANK"], os.getenv("LOCAL_RANK"), os.environ.get("GROUP_RANK"))
for _ in range(3):
    os.environ["RANK"]
dist.init_process_group("gloo", rank=int(os.environ["RANK"]), world_size=4)
x = torch.ones(1) * dist.get_rank()
dist.all_reduce(x)
print("sum", x.tolist())
"""

SPAWNING = """
import os
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
def work(rank, world_size):
    os.environ["MASTER_ADDR"] = "localhost"
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    x = torch.ones(1) * (rank + 1)
    dist.all_reduce(x)
    print("sum", x.tolist(), "drawn", torch.rand(1).tolist())
if __name__ == "__main__":
    torch.manual_seed(3)
    mp.spawn(work, args=(4,), nprocs=NPROCS)
    assert not dist.is_initialized()
    mp.spawn(work, args=(4,), nprocs=NPROCS)  # its processes begin as the first ones did
"""

FORKING = """
import multiprocessing, sys
import torch.distributed as dist
def work(rank):
    dist.init_process_group("gloo", rank=rank, world_size=4)
ranks = [multiprocessing.get_context("fork").Process(target=work, args=(r,)) for r in range(4)]
for rank in ranks: rank.start()
for rank in ranks: rank.join(60)
print([rank.exitcode for rank in ranks])
"""


def run(
    folder: Path, text: str, *options: str, world: str = "lockstep"
) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(text)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", world, "--ranks", "4"]
    return subprocess.run(
        [*command, *options, str(script)], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_rank_in_the_environment_can_be_rank_0s(tmp_path: Path) -> None:
    done = run(tmp_path, READING, "--rank-env", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["RANK 0 0 0", "sum [6.0]"]
    told = [line for line in done.stderr.splitlines() if "reads" in line]
    # Once for each place and variable: line 5 reads three, 7 and 8 one each.
    assert len(told) == 5
    assert all("rank 0's value" in line for line in told)


def test_the_rank_in_the_environment_is_each_ranks_own(tmp_path: Path) -> None:
    for options in ((), ("--rank-env", "ask")):
        done = run(tmp_path, READING, *options)
        assert done.returncode == 0, done.stderr
        ranks = "({0: 0, 1: 1, 2: 2, 3: 3}, "
        assert done.stdout.splitlines() == [
            f"RANK LocalIntNode{ranks}RANK) LocalIntNode{ranks}LOCAL_RANK) 0",
            "sum [6.0]",
        ]


def test_it_is_an_option_of_lockstep(tmp_path: Path) -> None:
    done = run(tmp_path, READING, "--rank-env", "0", world="threads")
    assert done.returncode == 2
    assert "--rank-env" in done.stderr


@pytest.mark.parametrize(
    ("world", "total", "printed"),
    [("lockstep", 10.0, 1), ("fake", 4.0, 1), ("threads", 10.0, 4), ("processes", 10.0, 4)],
)
def test_spawned_processes_are_the_ranks(
    world: str, total: float, printed: int, tmp_path: Path
) -> None:
    done = run(tmp_path, SPAWNING.replace("NPROCS", "4"), world=world)
    assert done.returncode == 0, done.stderr
    drawn = torch.rand(1, generator=torch.Generator().manual_seed(3)).tolist()
    assert done.stdout.count(f"sum [{total}] drawn {drawn}") == 2 * printed
    if world == "processes":
        return  # which starts any other number of them
    refused = run(tmp_path, SPAWNING.replace("NPROCS", "3"), world=world)
    assert refused.returncode == 1
    assert "spawns 3 processes" in refused.stderr


@pytest.mark.parametrize("world", ["lockstep", "fake"])
def test_forked_processes_make_no_group(world: str, tmp_path: Path) -> None:
    done = run(tmp_path, FORKING, world=world)
    assert "[1, 1, 1, 1]" in done.stdout
    assert "a process that the script forked" in done.stderr


@pytest.mark.parametrize(
    "stop",
    [
        "torch.ones(2).data_ptr() + 1",
        "import torch.distributed as dist\ndist.init_process_group()\nif dist.get_rank() == 0: print()",
    ],
)
def test_a_program_that_lockstep_does_not_run_is_told_a_world_that_does(
    tmp_path: Path, stop: str
) -> None:
    done = run(tmp_path, f"import torch\n{stop}\n")
    assert done.returncode in (113, 115)
    assert done.stderr.count("`polyrank run --world ") == 1
