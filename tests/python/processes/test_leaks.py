"""Runs leave nothing behind: no memory, files, threads, processes, nothing in /dev/shm or among temporary files."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import tempfile
import threading
from pathlib import Path

import polyrank
import psutil
import pytest
import torch
import torch.distributed as dist

NUM_RUNS = 10_000 if os.environ.get("POLYRANK_SWEEP") else 48
NUM_FIRST = 8  # until what is made once is there
MIB = 2**20


def ends_well() -> float:
    x = torch.ones(1 << 16)
    dist.all_reduce(x)
    return x[0].item()


def raises() -> None:
    if dist.get_rank() == 1:
        raise ValueError("no data")
    dist.barrier()


def is_killed() -> None:
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def waits_for_nobody() -> None:
    dist.recv(torch.zeros(1 << 16), src=1 - dist.get_rank())


def leaves_a_message() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.zeros(1 << 16), dst=1)


PROGRAMS = (ends_well, raises, is_killed, waits_for_nobody, leaves_a_message)


def run(number: int) -> None:
    program = PROGRAMS[number % len(PROGRAMS)]
    schedule = ("in_turn", "random", None, None)[number % 4]
    with contextlib.suppress(polyrank.RanksFailedError):
        polyrank.run_ranks(program, 2, world="processes", schedule=schedule)


def what_there_is() -> dict[str, object]:
    own = psutil.Process()
    return {
        "files": own.num_fds(),
        "threads": threading.active_count(),
        "threads of C++": own.num_threads(),
        "children": [child.pid for child in own.children(recursive=True)],
        "mappings": len(Path("/proc/self/maps").read_text().splitlines()),
    }


def ours_among_names() -> set[str]:
    """Shared memory and temporary files that this process has made, or its ranks."""
    folders = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return {
        str(path)
        for folder in folders
        for path in folder.glob("*polyrank*")
        if path.stat().st_uid == os.getuid()
    }


@pytest.mark.filterwarnings("ignore")
def test_runs_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # others' runs have theirs elsewhere
    for number in range(NUM_FIRST):
        run(number)
    gc.collect()
    before, names = what_there_is(), ours_among_names()
    memory = psutil.Process().memory_full_info().uss
    for number in range(NUM_RUNS):
        run(number)
    gc.collect()
    assert what_there_is() == before
    assert ours_among_names() <= names
    assert list(tmp_path.iterdir()) == []
    grown = psutil.Process().memory_full_info().uss - memory
    assert grown < (4 + NUM_RUNS / 1000) * MIB, f"{grown / NUM_RUNS:.0f} bytes a run"
