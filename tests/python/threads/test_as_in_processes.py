"""What programs do that rank threads gave another answer to than processes."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
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


def _retried(make: Callable[[], Any]) -> Any:
    while True:
        try:
            return make()
        except FileExistsError:
            pass


LOCKS: dict[str, tuple[Callable[[str], Any], Callable[[str], None]]] = {
    "folder": (os.mkdir, os.rmdir),
    "descriptor": (lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL)), os.unlink),
    "file": (lambda path: open(path, "x").close(), os.unlink),  # noqa: PTH123
    "link": (lambda path: Path(path).symlink_to("nowhere"), os.unlink),
}


@pytest.mark.parametrize("name", LOCKS)
def test_who_makes_a_file_again_and_again_lets_its_owner_go_on(name: str, tmp_path: Path) -> None:
    make, remove = LOCKS[name]
    lock = str(tmp_path / "lock")

    def program() -> int:
        _retried(lambda: make(lock))
        time.sleep(0.01)
        remove(lock)
        dist.barrier()
        return dist.get_rank()

    assert polyrank.run_ranks(program, 3) == [0, 1, 2]


def test_a_named_pipe_waits_for_its_other_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def program() -> str:
        if dist.get_rank() == 0:
            with pipe.open("w") as end:
                end.write("from rank 0")
            return ""
        with pipe.open() as end:
            return end.read()

    assert polyrank.run_ranks(program, 2) == ["", "from rank 0"]


def test_a_record_lock_keeps_other_ranks_out(tmp_path: Path) -> None:
    def program() -> list[bool]:
        held = []
        with (tmp_path / "lock").open("w") as file:
            for owner in range(2):
                if dist.get_rank() == owner:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dist.barrier()
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held.append(True)
                except OSError:
                    held.append(False)
                dist.barrier()
                fcntl.lockf(file, fcntl.LOCK_UN)
                dist.barrier()
        return held

    expected = [[True, False], [False, True]]
    assert polyrank.run_ranks(program, 2) == expected
    assert polyrank.run_ranks(program, 2, world="processes") == expected


def test_what_a_rank_starts_has_its_environment() -> None:
    def program() -> list[int]:
        os.environ["OF_RANK"] = str(dist.get_rank() + 5)
        dist.barrier()
        child = os.fork()
        if child == 0:
            os.execvp("sh", ["sh", "-c", "exit $OF_RANK"])
        forked = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return [forked, os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exit $OF_RANK")]

    assert polyrank.run_ranks(program, 3) == [[5, 5], [6, 6], [7, 7]]


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_what_a_rank_starts_has_variables_that_it_puts(world: Any) -> None:
    def program() -> list[int]:
        rank = dist.get_rank()
        os.environ["POLYRANK_FIRST"] = os.environ["POLYRANK_GONE"] = "9"
        os.putenv("POLYRANK_FIRST", str(rank + 5))
        os.putenv("POLYRANK_LAST", "9")
        os.environ["POLYRANK_LAST"] = str(rank)
        os.unsetenv("POLYRANK_GONE")
        dist.barrier()
        command = "exit $POLYRANK_FIRST$POLYRANK_LAST$POLYRANK_GONE"
        return [
            os.waitstatus_to_exitcode(os.system(command)),
            subprocess.run(["sh", "-c", command], check=False).returncode,
            os.spawnlp(os.P_WAIT, "sh", "sh", "-c", command),
        ]

    assert polyrank.run_ranks(program, 2, world=world) == [[50] * 3, [61] * 3]


def test_warnings_are_logged_and_classes_are_safe_on_the_rank_that_says_so() -> None:
    class Kept:
        pass

    def program() -> list[bool]:
        if dist.get_rank() == 1:
            torch.serialization.add_safe_globals([Kept])
        dist.barrier()
        logging.captureWarnings(True)
        is_logged = warnings.showwarning is logging._showwarning  # type: ignore[attr-defined]
        dist.barrier()
        logging.captureWarnings(False)
        return [is_logged, Kept in torch.serialization.get_safe_globals()]

    assert polyrank.run_ranks(program, 2) == [[True, False], [True, True]]


SAVED_SHARDS = """
import io
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
if dist.get_rank() == 0:
    import torch.distributed.tensor
dist.barrier()
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
shards = distribute_tensor(torch.arange(4), init_device_mesh("cpu", (2,)), [Shard(0)])
file = io.BytesIO()
torch.save(shards, file)
file.seek(0)
print(torch.load(file).to_local().tolist())
"""


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_what_shared_modules_call_safe_is_so_for_all_ranks(world: str, tmp_path: Path) -> None:
    script = tmp_path / "saved.py"
    script.write_text(SAVED_SHARDS)
    command = [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", "2", script]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    told = sorted(line for line in run.stdout.splitlines() if line.startswith("[rank"))
    assert (run.returncode, told) == (0, ["[rank0]: [0, 1]", "[rank1]: [2, 3]"])


def test_safe_classes_of_a_rank_come_and_go() -> None:
    class Mine:
        pass

    def program() -> list[bool]:
        def is_there() -> bool:
            dist.barrier()
            return Mine in torch.serialization.get_safe_globals()

        seen = [is_there()]
        if dist.get_rank() == 0:
            with torch.serialization.safe_globals([Mine]):
                seen.append(is_there())
        else:
            seen.append(is_there())
        seen.append(is_there())
        if dist.get_rank() == 1:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals([Mine])
        return [*seen, is_there(), len(torch.serialization.get_safe_globals()) == 1]

    before = torch.serialization.get_safe_globals()
    assert polyrank.run_ranks(program, 2) == [
        [False, True, False, False, len(before) == 1],
        [False, False, False, True, True],
    ]
    assert set(torch.serialization.get_safe_globals()) == set(before)
