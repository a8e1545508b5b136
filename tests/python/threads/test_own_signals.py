"""Signal handlers: each rank has its own, whether it is a thread or a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist

WORLDS = ("threads", "processes")


@pytest.mark.parametrize("world", WORLDS)
def test_a_rank_handles_what_it_sends_to_itself(world: str) -> None:
    def program() -> list[tuple[int, int]]:
        told: list[tuple[int, int]] = []
        rank = dist.get_rank()
        handler = signal.signal(signal.SIGUSR1, lambda number, _: told.append((number, rank)))
        assert handler == signal.SIG_DFL
        if rank == 1:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        dist.barrier()
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        dist.barrier()
        assert signal.getsignal(signal.SIGUSR1) != handler
        return told

    before = signal.getsignal(signal.SIGUSR1)
    mine = int(signal.SIGUSR1)
    told = polyrank.run_ranks(program, 3, world=world)
    assert told == [[(mine, 0)] * 2, [], [(mine, 2)] * 2]
    assert {type(number) for of_rank in told for number, _ in of_rank} == {int}
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize("world", WORLDS)
def test_a_handler_may_raise_and_the_program_goes_on(world: str) -> None:
    def on_signal(_number: int, _frame: object) -> None:
        raise TimeoutError(f"rank {dist.get_rank()}")

    def program() -> tuple[str, float]:
        signal.signal(signal.SIGUSR2, on_signal)
        dist.barrier()
        said = ""
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
        except TimeoutError as error:
            said = str(error)
        total = torch.ones(1)
        dist.all_reduce(total)
        return said, total.item()

    results = polyrank.run_ranks(program, 2, world=world)
    assert results == [("rank 0", 2.0), ("rank 1", 2.0)]


@pytest.mark.parametrize("world", WORLDS)
def test_wrong_handlers_and_signals_are_pythons_errors(world: str) -> None:
    def program() -> list[str]:
        errors = []
        for number, handler in (
            (signal.SIGUSR1, "text"),
            (signal.SIGKILL, signal.SIG_IGN),
            (1000, signal.SIG_IGN),
        ):
            try:
                signal.signal(number, handler)  # type: ignore[arg-type]
            except (TypeError, ValueError, OSError) as error:
                errors.append(f"{type(error).__name__}: {error}")
        threads = []

        def elsewhere() -> None:
            try:
                signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            except ValueError as error:
                threads.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return errors + threads

    assert (
        polyrank.run_ranks(program, 2, world=world)
        == [
            [
                "TypeError: signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object",
                "OSError: [Errno 22] Invalid argument",
                "ValueError: signal number out of range",
                "signal only works in main thread of the main interpreter",
            ]
        ]
        * 2
    )


STOPPED = """
import os, signal, sys, time
import torch, torch.distributed as dist

dist.init_process_group()
rank, stop = dist.get_rank(), []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
dist.barrier()  # all ranks have the handler
if rank == 0:
    open("ready", "w").close()
steps = 0
while True:
    flag = torch.tensor(float(bool(stop)))
    dist.all_reduce(flag)
    if flag.item() == dist.get_world_size():
        break
    steps += 1
    time.sleep(0.02)
print(f"rank {rank} saved its checkpoint", flush=True)
"""


def test_a_run_that_is_terminated_may_save_and_end_by_itself(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(STOPPED)
    command = [sys.executable, "-m", "polyrank", "run", "--world", "threads", "--ranks", "3"]
    with subprocess.Popen(
        [*command, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert sorted(line[-len("rank 0 saved its checkpoint") :] for line in out.splitlines()) == [
        f"rank {rank} saved its checkpoint" for rank in range(3)
    ]


def test_a_timer_of_the_process_is_refused_to_ranks_that_are_threads() -> None:
    def program() -> None:
        assert signal.alarm(0) == 0
        assert signal.setitimer(signal.ITIMER_REAL, 0) == (0.0, 0.0)
        with pytest.raises(polyrank.UnsupportedOpError, match=r"alarm\(5\): a process has one"):
            signal.alarm(5)
        with pytest.raises(polyrank.UnsupportedOpError, match=r"setitimer\(0, 0.5\): a process"):
            signal.setitimer(signal.ITIMER_REAL, 0.5)

    polyrank.run_ranks(program, 2)
    assert signal.alarm(0) == 0
