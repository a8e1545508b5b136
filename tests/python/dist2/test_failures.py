"""A rank that dies, hangs or never comes ends the others in time, with an error that names it."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from dist2.processes import results_of, run_processes
from polyrank import dist2

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = timedelta(seconds=4)
# Beside the time-out: a second to ask who is there, and slowness of a busy machine.
SLACK_SECONDS = 6


def outcome(run: Callable[[], None]) -> tuple[str, float]:
    """The error of what must fail, and the seconds that it took."""
    started = time.monotonic()
    try:
        run()
    except polyrank.CollectiveError as error:
        return str(error), time.monotonic() - started
    raise AssertionError("no error")


def make_group() -> tuple[str, float]:
    return outcome(lambda: dist2.new_group("gloo", TIMEOUT, "cpu") and None)


def sum_without_rank_2(leave: Callable[[], None]) -> tuple[str, float]:
    group = dist2.new_group("gloo", TIMEOUT, "cpu")
    if group.rank() == 2:
        leave()
    return outcome(lambda: group.allreduce([torch.ones(4)]).wait() and None)


def rank_2_exits() -> tuple[str, float]:
    return sum_without_rank_2(lambda: os._exit(3))


def rank_2_is_killed() -> tuple[str, float]:
    return sum_without_rank_2(lambda: os.kill(os.getpid(), signal.SIGKILL))


def sleep_and_exit() -> None:
    time.sleep(TIMEOUT.total_seconds() + SLACK_SECONDS)
    os._exit(0)


def rank_2_sleeps() -> tuple[str, float]:
    return sum_without_rank_2(sleep_and_exit)


def split_without_rank_2() -> tuple[str, float]:
    group = dist2.new_group("gloo", TIMEOUT, "cpu")
    if group.rank() == 2:
        sleep_and_exit()
    return outcome(lambda: group.split_group([0, 1, 2]) and None)


def outcomes(program: str, folder: Path, started: list[int], told: list[int]) -> list[str]:
    """The errors of the ranks that lived to tell, each in time."""
    run_processes(f"dist2.test_failures:{program}", 3, folder, ranks=started)
    found = [torch.load(folder / f"rank{rank}.pt") for rank in told]
    assert all(seconds < TIMEOUT.total_seconds() + SLACK_SECONDS for _, seconds in found), found
    return [message for message, _ in found]


def test_a_rank_that_never_comes(tmp_path: Path) -> None:
    for message in outcomes("make_group", tmp_path, [0, 1], [0, 1]):
        assert "no process group, since rank 2 did not come within 4000 ms" in message


def test_rank_0_never_comes(tmp_path: Path) -> None:
    for message in outcomes("make_group", tmp_path, [1, 2], [1, 2]):
        assert "within 4000 ms; rank 0 serves it" in message


@pytest.mark.parametrize("program", ["rank_2_exits", "rank_2_is_killed"])
def test_a_rank_that_dies(program: str, tmp_path: Path) -> None:
    for message in outcomes(program, tmp_path, [0, 1, 2], [0, 1]):
        assert "allreduce (launch #0): the process of rank 2 has ended" in message


def test_a_rank_that_hangs(tmp_path: Path) -> None:
    for message in outcomes("rank_2_sleeps", tmp_path, [0, 1, 2], [0, 1]):
        assert "all processes live; rank 2 has not failed here" in message
        assert "Timed out" in message  # gloo's own words


def test_a_rank_that_does_not_come_to_a_split(tmp_path: Path) -> None:
    for message in outcomes("split_without_rank_2", tmp_path, [0, 1, 2], [0, 1]):
        assert "since rank 2 did not come within 4000 ms" in message


def end_after_the_last_wait() -> None:
    group = dist2.new_group("gloo", TIMEOUT, "cpu")
    x = torch.ones(4)
    for _ in range(100):
        group.allreduce([x]).wait()
    sys.exit(0)


def test_a_program_may_end_right_after_its_last_collective(tmp_path: Path) -> None:
    # With PyTorch's groups most such processes abort: gloo's thread is the last to hold a tensor.
    for _ in range(3):
        ended = run_processes("dist2.test_failures:end_after_the_last_wait", 2, tmp_path)
        assert [process.code for process in ended] == [0, 0], ended


def groups_on_one_store() -> list[float]:
    rank = int(os.environ["RANK"])
    store = dist.TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), is_master=rank == 0)
    sums = []
    for _ in range(6):
        group = dist2.new_group("gloo", TIMEOUT, "cpu", store=store, rank=rank, world_size=2)
        x = torch.ones(1) * (rank + 1)
        group.allreduce([x]).wait()
        sums.append(x.item())
    group.barrier().wait()
    return sums


def test_groups_may_share_a_given_store(tmp_path: Path) -> None:
    ended = run_processes("dist2.test_failures:groups_on_one_store", 2, tmp_path)
    assert [process.code for process in ended] == [0, 0], ended
    assert results_of(tmp_path, 2) == [[3.0] * 6] * 2


def one_group() -> dist.ProcessGroup:
    return dist2.new_group(
        "gloo", timedelta(seconds=1), "cpu", store=dist.HashStore(), rank=0, world_size=1
    )


@pytest.mark.parametrize("peer", [-1, 3])
@pytest.mark.parametrize("launch", ["send", "recv"])
def test_a_peer_that_the_group_has_not(launch: str, peer: int) -> None:
    with pytest.raises(polyrank.CollectiveError, match=f"no group rank {peer}; valid: 0..0"):
        getattr(one_group(), launch)([torch.ones(1)], peer, 0)


def test_a_merge_that_nobody_comes_to_takes_the_groups_timeout() -> None:
    started = time.monotonic()
    with pytest.raises(polyrank.CollectiveError, match="rank 1 did not come within 1000 ms"):
        one_group().merge_remote_group(dist.HashStore(), 2)
    assert time.monotonic() - started < 1 + SLACK_SECONDS


@pytest.mark.parametrize("timeout", [3, None, "1s"])
def test_a_timeout_is_a_timedelta(timeout: Any) -> None:
    with pytest.raises(polyrank.UsageError, match="timeout is a datetime"):
        dist2.new_group("gloo", timeout, "cpu")
