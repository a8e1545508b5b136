"""Threads that a rank's program starts are that rank, too."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
import torch.distributed.checkpoint as dcp
from polyrank.any_world.failed_ranks import RanksFailedError
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


def in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    assert not thread.is_alive()
    return found[0]


def in_pool(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(2) as pool:
        return pool.submit(function).result()


def in_timer(function: Callable[[], Any]) -> Any:
    found: queue.Queue[Any] = queue.Queue()
    timer = threading.Timer(0.01, lambda: found.put(function()))
    timer.start()
    return found.get()


def in_asyncio(function: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return await asyncio.to_thread(function)

    return asyncio.run(run())


def in_thread_of_a_thread(function: Callable[[], Any]) -> Any:
    return in_thread(lambda: in_pool(function))


WAYS = [in_thread, in_pool, in_timer, in_asyncio, in_thread_of_a_thread]


@pytest.mark.parametrize("way", WAYS)
def test_is_the_rank(way: Callable[[Callable[[], Any]], Any]) -> None:
    def who() -> tuple[Any, ...]:
        initialized = dist.get_rank() if dist.is_initialized() else 0
        return initialized, dist.get_world_size(), mesh_of_rank().get_local_rank()

    meshes: dict[int, Any] = {}

    def mesh_of_rank() -> Any:
        return meshes[dist.get_rank()]

    def program() -> Any:
        meshes[dist.get_rank()] = init_device_mesh("cpu", (3,))
        return way(who)

    assert polyrank.run_ranks(program, 3) == [(rank, 3, rank) for rank in range(3)]


@pytest.mark.parametrize("way", WAYS)
def test_has_what_the_rank_has_of_a_process(way: Callable[[Callable[[], Any]], Any]) -> None:
    def program() -> Any:
        rank = dist.get_rank()
        os.environ["MINE"] = str(rank)
        random.seed(rank)
        torch.manual_seed(rank)
        expected = random.Random(rank).random(), torch.rand(2, generator=seeded(rank)).tolist()
        found = way(lambda: (os.environ["MINE"], (random.random(), torch.rand(2).tolist())))
        return found == (str(rank), expected)

    def seeded(rank: int) -> torch.Generator:
        return torch.Generator().manual_seed(rank)

    assert polyrank.run_ranks(program, 3) == [True] * 3


@pytest.mark.parametrize("way", WAYS)
def test_collectives_meet(way: Callable[[Callable[[], Any]], Any]) -> None:
    def program() -> Any:
        rank = dist.get_rank()
        group = dist.new_group([0, 1, 2])

        def work() -> tuple[float, float, float]:
            x = torch.full((2,), float(rank))
            dist.all_reduce(x, group=group)
            y = funcol.all_reduce(torch.ones(1), "sum", group).wait()
            new = dist.new_group([0, 2])
            z = torch.ones(1)
            if rank != 1:
                dist.all_reduce(z, group=new)
            return x[0].item(), y.item(), z.item()

        return way(work)

    assert polyrank.run_ranks(program, 3) == [(3.0, 3.0, 2.0), (3.0, 3.0, 1.0), (3.0, 3.0, 2.0)]


def test_groups_that_are_made_while_the_thread_lives_are_its_too() -> None:
    def program() -> float:
        jobs: queue.Queue[Any] = queue.Queue()
        done: queue.SimpleQueue[float] = queue.SimpleQueue()

        def serve() -> None:
            while (group := jobs.get()) is not None:
                done.put(funcol.all_reduce(torch.ones(1), "sum", group).wait().item())

        thread = threading.Thread(target=serve)
        thread.start()
        total = 0.0
        for _ in range(3):
            jobs.put(dist.new_group([0, 1]))
            total += done.get()
        jobs.put(None)
        thread.join()
        return total

    assert polyrank.run_ranks(program, 2) == [6.0, 6.0]


def test_a_thread_with_a_group_of_its_own_works_beside_the_program() -> None:
    def program() -> tuple[float, float]:
        rank = dist.get_rank()
        group = dist.new_group()
        saved = torch.ones(1) * rank
        thread = threading.Thread(target=lambda: dist.all_reduce(saved, group=group))
        thread.start()
        x = torch.ones(1)
        dist.all_reduce(x)
        thread.join()
        return x.item(), saved.item()

    assert polyrank.run_ranks(program, 4) == [(4.0, 6.0)] * 4


def test_a_checkpoint_that_is_saved_in_the_background_is_whole(tmp_path: Path) -> None:
    def program() -> bool:
        torch.manual_seed(0)
        model = nn.Linear(3, 8)
        fully_shard(model)
        weight = model.weight.full_tensor()  # type: ignore[attr-defined]
        dcp.async_save({"m": model.state_dict()}, checkpoint_id=tmp_path).result()  # type: ignore[union-attr]
        dist.barrier()
        state = {"m": {name: torch.zeros_like(value) for name, value in model.state_dict().items()}}
        dcp.load(state, checkpoint_id=tmp_path)
        return bool((state["m"]["weight"].full_tensor() == weight).all())

    assert polyrank.run_ranks(program, 4) == [True] * 4


def test_the_order_is_the_same_each_time() -> None:
    def order(**schedule: Any) -> list[tuple[int, int, int]]:
        seen: list[tuple[int, int, int]] = []

        def program() -> None:
            rank = dist.get_rank()

            def work(name: int) -> None:
                for step in range(3):
                    seen.append((rank, name, step))
                    with lock:
                        time.sleep(0)

            lock = threading.Lock()
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(work, range(4)))
            dist.barrier()

        polyrank.run_ranks(program, 3, **schedule)
        return seen

    def cooperative() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def program() -> None:
            rank = dist.get_rank()
            lock, turn = threading.Lock(), threading.Condition()
            count = [0]

            def work(name: int) -> None:
                for step in range(4):
                    with turn:
                        turn.wait_for(lambda: count[0] % 3 == name)
                        seen.append((rank, name))
                        count[0] += 1
                        turn.notify_all()
                    with lock:
                        seen.append((rank, 10 + step))

            threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        polyrank.run_ranks(program, 3)
        return seen

    assert len(order()) == 36
    first = cooperative()
    assert len(first) == 72
    assert all(cooperative() == first for _ in range(3))


def test_launches_that_do_not_match_are_named_on_all() -> None:
    def program() -> None:
        size = 1 + dist.get_rank() % 2
        in_pool(lambda: dist.all_reduce(torch.ones(size)))

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 2)
    cause, *others = caught.value.exceptions
    assert isinstance(cause, polyrank.CollectiveMismatchError)
    # A rank whose first thread waits for the one that launched may be told that the other rank failed.
    assert len(others) == 1
    assert all(isinstance(error, polyrank.CollectiveError) for error in others)
    assert all("launch #0: ranks disagree" in str(error) for error in others)


def test_two_threads_that_launch_in_one_group_at_once_are_told() -> None:
    def program() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: dist.all_reduce(torch.ones(1)), range(2)))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        polyrank.run_ranks(program, 2)
    text = "".join(str(warning.message) for warning in told)
    assert "their order is not defined" in text
    assert "a group of its own" in text
    assert "test_started_threads.py" in text


def test_a_mismatch_of_two_threads_names_them() -> None:
    def program() -> None:
        sizes = (1, 2) if dist.get_rank() == 0 else (2, 1)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda size: dist.all_reduce(torch.ones(size)), sizes))

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 2)
    text = "".join(map(str, caught.value.exceptions))
    assert "ranks disagree" in text
    start = time.monotonic()
    assert time.monotonic() - start < 10


def test_who_joins_a_thread_that_nobody_meets_is_told_at_once() -> None:
    def program() -> None:
        if dist.get_rank() == 0:
            thread = threading.Thread(target=dist.barrier)
            thread.start()
            thread.join()

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 2)
    text = str(caught.value.exceptions[0])
    assert "rank 0 waits for the end of a thread that it has started" in text
    assert "a thread of rank 0 waits in barrier" in text


def test_threads_end_with_the_program_of_their_rank() -> None:
    ended: list[tuple[str, int]] = []
    before = threading.active_count()

    def program() -> None:
        rank = dist.get_rank()

        def finish() -> None:
            time.sleep(0.02)
            ended.append(("joined", rank))

        def serve() -> None:
            try:
                queue.Queue[int]().get()
            finally:
                ended.append(("cut", rank))

        threading.Thread(target=finish).start()
        threading.Thread(target=serve, daemon=True).start()
        ThreadPoolExecutor(1).submit(int).result()  # never shut down

    polyrank.run_ranks(program, 2)
    assert sorted(ended) == [("cut", 0), ("cut", 1), ("joined", 0), ("joined", 1)]
    for _ in range(100):
        if threading.active_count() == before:
            break
        time.sleep(0.05)
    assert threading.active_count() == before


def test_a_failure_does_not_wait_for_threads() -> None:
    def program() -> None:
        threading.Thread(target=threading.Event().wait).start()
        ThreadPoolExecutor(1).submit(int).result()
        dist.barrier()
        if dist.get_rank() == 1:
            raise ValueError("no data")
        dist.barrier()

    with pytest.raises(RanksFailedError, match="no data"):
        polyrank.run_ranks(program, 3)


def test_an_error_in_a_pool_is_its_future_s() -> None:
    def program() -> str:
        def fail() -> None:
            raise KeyError(dist.get_rank())

        with pytest.raises(KeyError) as caught:
            in_pool(fail)
        return str(caught.value)

    assert polyrank.run_ranks(program, 2) == ["0", "1"]
