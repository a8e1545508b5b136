"""What programs do that rank threads gave another answer to than processes."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist


def _on_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def draws_after_a_thread() -> list[Any]:
    """A thread of a rank seeds, draws and sets the number of threads: the rank goes on from there."""
    rank = dist.get_rank()
    torch.manual_seed(5)
    _on_a_thread(lambda: torch.manual_seed(100 + rank))
    seeded = torch.rand(2).tolist()
    torch.manual_seed(5)
    _on_a_thread(lambda: torch.rand(3))
    return [seeded, torch.rand(2).tolist()]


def locks_a_file(folder: str) -> bool:
    """Locks a file of its own and frees it."""
    with (Path(folder) / f"{dist.get_rank()}").open("w") as file:
        for lock in (fcntl.lockf, fcntl.flock):
            lock(file, fcntl.LOCK_EX)
            lock(file, fcntl.LOCK_UN)
    return True


def test_a_rank_draws_on_where_its_thread_has_stopped() -> None:
    threads = polyrank.run_ranks(draws_after_a_thread, 3)
    assert threads == polyrank.run_ranks(draws_after_a_thread, 3, world="processes")
    assert threads[0][0] != threads[1][0]


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_files_are_locked_and_freed(world: str, tmp_path: Path) -> None:
    assert polyrank.run_ranks(locks_a_file, 2, str(tmp_path), world=world) == [True, True]


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_bytes_are_written_and_functions_that_are_imported_late_take_the_default_group(
    world: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "import torch.distributed.nn.functional as functional\n"
        "total = functional.all_reduce(torch.ones(2) * dist.get_rank())\n"
        "sys.stdout.buffer.write(f'total {total.tolist()}\\n'.encode())\n"
        "sys.stdout.buffer.flush()\n"
    )
    command = [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", "3"]
    done = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[rank{r}]: total [3.0, 3.0]" for r in range(3)]
