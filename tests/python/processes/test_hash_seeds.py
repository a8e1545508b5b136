"""`polyrank run --hash-seeds K`: ranks have salts of string hashes of their own, as torchrun's have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest


def start(folder: Path, text: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(text)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONHASHSEED" and not name.startswith("POLYRANK")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "polyrank", "run", "--ranks", "4", *options, "program.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment | variables,
    )


def run(
    folder: Path, text: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    process = start(folder, text, *options, **variables)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess([], process.returncode, out, err)


_IN_THE_ORDER_OF_A_SET = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
gradients = {f"layer{i}.weight": torch.zeros(i + 1) + dist.get_rank() for i in range(6)}
for name in set(gradients):
    dist.all_reduce(gradients[name])
"""


def test_what_depends_on_the_order_of_a_set_is_found(tmp_path: Path) -> None:
    assert run(tmp_path, _IN_THE_ORDER_OF_A_SET).returncode == 0
    found = run(tmp_path, _IN_THE_ORDER_OF_A_SET, "--hash-seeds", "2")
    assert found.returncode == 114, found.stderr
    assert "ranks disagree" in found.stderr
    assert "program.py:6" in found.stderr


_TELLS = """
import json, os, subprocess, sys, torch, torch.distributed as dist
dist.init_process_group()
x = torch.full((1000, 1000), float(dist.get_rank()))
dist.all_reduce(x)
told = [None] * 4
dist.all_gather_object(told, {
    "hash": hash("a"),
    "parent": os.getppid(),
    "variables": [name for name in ("PYTHONHASHSEED", "LD_PRELOAD") if name in os.environ]
        + [name for name in os.environ if name.startswith("POLYRANK")],
    "rank": os.environ["RANK"],
    "sum": x[999, 999].item(),
    "input": sys.stdin.read(),
    "child": subprocess.check_output([sys.executable, "-c", "print(hash('a'))"], text=True),
})
if dist.get_rank() == 0:
    print(json.dumps(told))
"""


def test_ranks_have_salts_in_turn_and_all_else_of_their_own(tmp_path: Path) -> None:
    done = run(tmp_path, _TELLS, "--hash-seeds", "3")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.removeprefix("[rank0]: "))
    hashes, parents = ([one[key] for one in told] for key in ("hash", "parent"))
    for of_rank in (hashes, parents):
        assert of_rank[0] == of_rank[3]
        assert len(set(of_rank)) == 3
    assert [one["rank"] for one in told] == list("0123")
    assert {one["sum"] for one in told} == {6.0}
    assert all(one["variables"] == [] for one in told)
    assert len({one["child"] for one in told}) == 4  # processes of ranks are salted by the system
    again = run(tmp_path, _TELLS, "--hash-seeds", "3", "--schedule", "in_turn")
    repeated = json.loads(again.stdout.removeprefix("[rank0]: "))
    assert [one["hash"] for one in repeated] == hashes


def test_ends_are_those_of_one_launcher(tmp_path: Path) -> None:
    died = run(
        tmp_path,
        "import os, torch.distributed as dist\n"
        "dist.init_process_group()\n"
        "if dist.get_rank() == 1:\n    os.kill(os.getpid(), 9)\n"
        "dist.barrier()\n",
        "--hash-seeds",
        "2",
    )
    assert died.returncode == 128 + 9
    assert "rank 1 died by signal 9 (SIGKILL)" in died.stderr
    exits = run(
        tmp_path, "import os, sys\nsys.exit(int(os.environ['RANK']))\n", "--hash-seeds", "2"
    )
    assert exits.returncode in (1, 2, 3)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    process = start(
        tmp_path,
        "import pathlib, os, time\n"
        "pathlib.Path('begun' + os.environ['RANK']).touch()\n"
        "time.sleep(300)\n",
        "--hash-seeds",
        "2",
    )
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("begun*"))) < 4:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    others = descendants(process)
    assert len(others) == 5  # ranks, and another launcher
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    gone, alive = psutil.wait_procs(others, timeout=30)
    assert alive == [] and len(gone) == 5


def test_what_can_not_be_is_said(tmp_path: Path) -> None:
    set_before = run(tmp_path, "print(1)\n", "--hash-seeds", "2", PYTHONHASHSEED="0")
    assert set_before.returncode == 2
    assert set_before.stderr.endswith(
        "--hash-seeds: PYTHONHASHSEED is set, which gives all ranks one salt\n"
    )
    both = run(tmp_path, "print(1)\n", "--hash-seeds", "2", "--schedules", "3")
    assert both.returncode == 2 and "is for one run" in both.stderr
