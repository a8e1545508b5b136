"""Waits that end by themselves, keys of the store, and groups that are made of others."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.any_world.failed_ranks import RanksFailedError
from polyrank.torch_features import OF_NO_PART


def first_error(program: Callable[[], object], world_size: int = 3) -> Exception:
    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, world_size)
    return caught.value.exceptions[0]


def test_a_wait_with_a_time_out_says_who_did_not_come() -> None:
    def program() -> None:
        if dist.get_rank() != 2:
            work = dist.all_reduce(torch.ones(4), async_op=True)
            work.wait(timedelta(milliseconds=30))

    start = time.monotonic()
    error = first_error(program)
    assert 0.03 <= time.monotonic() - start < 10
    assert isinstance(error, polyrank.CollectiveError)
    text = str(error)
    assert "timed out after" in text and "waiting for rank 2" in text
    assert "rank 2 has returned" in text
    assert "test_waits.py" in text


def test_a_time_out_that_is_caught_leaves_the_collective_to_go_on() -> None:
    def program() -> tuple[bool, float]:
        x = torch.ones(1)
        if dist.get_rank() == 1:
            time.sleep(0.1)
        work = dist.all_reduce(x, async_op=True)
        is_late = False
        try:
            work.wait(timedelta(milliseconds=20))
        except polyrank.CollectiveError:
            is_late = True
            work.wait()
        return is_late, x.item()

    assert polyrank.run_ranks(program, 2) == [(True, 2.0), (False, 2.0)]


def test_a_key_that_nobody_sets_is_found_at_once() -> None:
    def program() -> None:
        store = dist.distributed_c10d._get_default_store()
        if dist.get_rank() == 1:
            store.get("address")
        dist.barrier()

    start = time.monotonic()
    error = first_error(program)
    assert time.monotonic() - start < 10  # the store's time-out is 300 s
    assert isinstance(error, polyrank.DeadlockError)
    text = str(error)
    assert 'rank 1 waits for key "' in text and 'address" of the store  ' in text
    assert "test_waits.py" in text
    assert "ranks 0,2 wait in barrier" in text


def test_keys_are_handed_from_rank_to_rank() -> None:
    def program() -> bytes:
        store = dist.distributed_c10d._get_default_store()
        rank = dist.get_rank()
        if rank == 2:
            store.set("word", "there")
        while not store.check(["word"]):
            pass
        store.wait(["word"], timedelta(seconds=60))
        store.add("count", 1)
        while int(store.add("count", 0)) < 3:
            time.sleep(0.001)
        value: bytes = store.get("word")
        return value

    assert polyrank.run_ranks(program, 3) == [b"there"] * 3


def test_waiting_for_a_key_with_a_time_out_ends_by_itself() -> None:
    def program() -> str:
        try:
            dist.distributed_c10d._get_default_store().wait(["x"], timedelta(milliseconds=30))
        except dist.DistStoreError as error:
            return type(error).__name__
        return "no error"

    assert polyrank.run_ranks(program, 2) == ["DistStoreError"] * 2


def test_monitored_barrier() -> None:
    def program() -> None:
        dist.monitored_barrier()
        dist.monitored_barrier(timeout=timedelta(seconds=60), wait_all_ranks=True)
        low = dist.new_group([0, 1])
        if dist.get_rank() < 2:
            dist.monitored_barrier(low, timeout=60.0)
        else:
            with pytest.warns(UserWarning, match="not in"):
                dist.monitored_barrier(low)

    polyrank.run_ranks(program, 3)


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_plain_barrier_meets_no_monitored_one(world: str) -> None:
    def program() -> None:
        dist.init_process_group("gloo")
        if dist.get_rank() == 1:
            dist.barrier()
        else:
            dist.monitored_barrier()

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 2, world=world)
    error = caught.value.exceptions[0]
    assert isinstance(error, polyrank.CollectiveMismatchError)
    assert "rank 0: monitored_barrier" in str(error) and "rank 1: barrier" in str(error)


@pytest.mark.parametrize("world", ["threads", "processes"])
@pytest.mark.parametrize("milliseconds", [0, 50])
def test_a_monitored_barrier_that_some_do_not_reach(world: str, milliseconds: int) -> None:
    def program() -> str:
        dist.init_process_group("gloo")
        group = dist.new_group([0, 1, 2])
        if dist.get_rank() == 1:
            return ""
        try:
            group.monitored_barrier(timedelta(milliseconds=milliseconds), True)
        except RuntimeError as error:
            return str(error)
        return "passed"

    with pytest.warns(UserWarning, match="was never joined by all members"):
        root, _, other = polyrank.run_ranks(program, 3, world=world)
    assert "Rank 0 timed out in monitoredBarrier" in root
    assert "failed to pass monitoredBarrier" in root and "waiting for rank" in root
    assert "Rank 2 successfully reached monitoredBarrier" in other


def test_monitored_barrier_names_the_rank_that_does_not_come() -> None:
    def program(timeout: timedelta | None) -> None:
        if dist.get_rank() != 1:
            dist.monitored_barrier(timeout=timeout)

    error = first_error(lambda: program(None))
    assert isinstance(error, polyrank.DeadlockError)
    assert "ranks 0,2 wait in monitored_barrier" in str(error) and "for rank 1" in str(error)
    error = first_error(lambda: program(timedelta(milliseconds=20)))
    assert isinstance(error, polyrank.CollectiveError)
    assert "waiting for rank 1" in str(error)


def test_split_group() -> None:
    def program() -> list[object]:
        rank = dist.get_rank()
        halves = dist.split_group(split_ranks=[[0, 2], [3, 1]])
        assert halves is not None
        x = torch.ones(1) * rank
        dist.all_reduce(x, group=halves)
        nested = dist.split_group(halves, [[1]])
        size = None if nested == OF_NO_PART else nested.size()
        return [dist.get_process_group_ranks(halves), x.item(), size]

    assert polyrank.run_ranks(program, 4) == [
        [[0, 2], 2.0, None],
        [[1, 3], 4.0, None],
        [[0, 2], 2.0, 1],
        [[1, 3], 4.0, 1],
    ]


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_groups_of_members_alone_after_other_numbers_of_groups(world: Any) -> None:
    def program() -> list[float]:
        rank = dist.get_rank()
        dist.new_group([0, 3])  # which ranks 1 and 2 do not count
        half = dist.split_group(split_ranks=[[0, 1], [2, 3]])
        again = dist.split_group(split_ranks=[[0, 1], [2, 3]])
        pair = [rank % 2, rank % 2 + 2]
        local = dist.new_group(pair, use_local_synchronization=True)
        results = []
        for group, factor in ((half, 1), (again, 10), (local, 100)):
            x = torch.ones(1) * rank * factor
            dist.all_reduce(x, group=group)
            results.append(x.item())
        return results

    assert polyrank.run_ranks(program, 4, world=world) == [
        [1.0, 10.0, 200.0],
        [1.0, 10.0, 400.0],
        [5.0, 50.0, 200.0],
        [5.0, 50.0, 400.0],
    ]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (None, "cannot be None or empty"),
        ([[0], []], "ranks 0..2"),
        ([[0, 3]], "ranks 0..2"),
        ([[0, 1], [1, 2]], "one part only"),
    ],
)
def test_parts_must_be_ranks_of_the_group(split: list[list[int]] | None, message: str) -> None:
    error = first_error(lambda: dist.split_group(split_ranks=split))
    assert isinstance(error, ValueError)
    assert message in str(error)
