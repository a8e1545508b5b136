"""Ranks that are processes and go one at a time: runs that repeat, orders that are tried."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.process_ranks import supervisor


def run(program: Callable[..., Any], world_size: int, *args: Any, **options: Any) -> list[Any]:
    return polyrank.run_ranks(program, world_size, *args, world="processes", **options)


def arrivals() -> list[int]:
    """The ranks in the order in which rank 0 gets a message of each, after some collectives."""
    x = torch.zeros(1)
    dist.all_reduce(x)
    if dist.get_rank():
        dist.send(x, dst=0)
        return []
    return [dist.recv(x) for _ in range(dist.get_world_size() - 1)]


def test_a_seed_is_an_order() -> None:
    orders = set()
    for seed in range(6):
        order = run(arrivals, 4, schedule="random", seed=seed)[0]
        assert order == run(arrivals, 4, schedule="random", seed=seed)[0]
        orders.add(tuple(order))
    assert len(orders) > 1
    assert len({tuple(run(arrivals, 4, schedule="in_turn")[0]) for _ in range(3)}) == 1


_PRINTS = """
import random, torch, torch.distributed as dist
dist.init_process_group()
rank = dist.get_rank()
x = torch.ones(1)
for step in range(4):
    print("a", step, random.random(), torch.rand(1).item())
    dist.all_reduce(x)
    print("b", step)
    work = dist.all_reduce(x, async_op=True)
    print("c", step)
    while not work.is_completed():
        pass
"""


def test_what_ranks_print_repeats(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PRINTS)

    def printed(*options: str) -> str:
        command = [sys.executable, "-m", "polyrank", "run", "--ranks", "3", *options, "program.py"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    runs = [printed("--schedule", "random", "--seed", seed) for seed in ("1", "1", "2")]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert sorted(runs[0].splitlines()) == sorted(runs[2].splitlines())  # only their order differs
    in_turn = printed("--schedule", "in_turn")
    assert in_turn == printed("--schedule", "in_turn")
    steps = [line.split()[1:3] for line in in_turn.splitlines()]
    # Who waited goes on behind who comes last, which goes on at once.
    assert steps[:9] == [["a", "0"]] * 3 + [["b", "0"], ["c", "0"]] * 3


def _sleeps(folder: Path) -> None:
    while not (folder / "made").exists():
        time.sleep(0.002)


def _waits_for_a_thread(folder: Path) -> None:
    thread = threading.Thread(target=_sleeps, args=(folder,))
    thread.start()
    thread.join()


def _waits_for_a_child(folder: Path) -> None:
    script = f"while [ ! -e '{folder / 'made'}' ]; do sleep 0.01; done"
    subprocess.run(["/bin/sh", "-c", script], check=True)


def _reads_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "pipe").read_bytes()


@pytest.mark.parametrize("block", [_sleeps, _waits_for_a_thread, _waits_for_a_child, _reads_a_pipe])
def test_who_blocks_outside_lets_the_others_go(
    tmp_path: Path, block: Callable[[Path], None]
) -> None:
    def program() -> float:
        if dist.get_rank() == 2:
            block(tmp_path)
        elif dist.get_rank() == 1:
            (tmp_path / "made").touch()
            if (tmp_path / "pipe").exists():
                (tmp_path / "pipe").write_bytes(b"x")
        x = torch.ones(1)
        dist.all_reduce(x)
        return x.item()

    assert run(program, 3, schedule="in_turn") == [3.0] * 3


def test_who_asks_without_end_is_told_and_the_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "_LONGEST_TURN_SECONDS", 0.3)

    def program() -> None:
        if dist.get_rank() == 1:  # which goes on first, as it has come last to the default group
            while not (tmp_path / "made").exists():
                pass
        else:
            (tmp_path / "made").touch()

    run(program, 2, schedule="in_turn")
    told = capsys.readouterr().err
    assert "rank 1 has had the turn for" in told
    assert "may not repeat" in told


def test_who_computes_keeps_the_turn() -> None:
    def program() -> list[float]:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.3:
            random.random()
        times = [None, None]
        dist.all_gather_object(times, (begun, time.monotonic()))
        return times  # type: ignore[return-value]

    (_, first_end), (second_begin, _) = sorted(run(program, 2, schedule="in_turn")[0])
    assert second_begin >= first_end


@pytest.mark.parametrize("schedule", ["in_turn", "random"])
def test_faults_are_those_of_ranks_side_by_side(schedule: str) -> None:
    def waits_for_nobody() -> None:
        dist.recv(torch.zeros(1), src=1 - dist.get_rank())

    with pytest.raises(polyrank.RanksFailedError, match="no rank can proceed"):
        run(waits_for_nobody, 2, schedule=schedule)

    def dies() -> None:
        if dist.get_rank() == 1:
            os.kill(os.getpid(), 9)
        dist.barrier()

    with pytest.raises(polyrank.RanksFailedError, match=r"died by signal 9 \(SIGKILL\)"):
        run(dies, 3, schedule=schedule)
