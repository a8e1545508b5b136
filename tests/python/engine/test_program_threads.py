"""Threads that a program starts in lockstep are in its mode."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist

WORLD_SIZE = 4


def of_rank(tensor: Any, rank: int) -> Any:
    return tensor._local_tensors[rank]


def by_thread(work: Callable[[], Any]) -> Any:
    kept: list[Any] = []
    thread = threading.Thread(target=lambda: kept.append(work()))
    thread.start()
    thread.join()
    return kept[0]


def by_pool(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def by_function(work: Callable[[], Any]) -> Any:
    kept: list[Any] = []
    done = threading.Event()

    def run(*, is_named: bool) -> None:
        assert is_named
        kept.append(work())
        done.set()

    _thread.start_new_thread(run, (), {"is_named": True})
    done.wait()
    return kept[0]


def by_thread_of_thread(work: Callable[[], Any]) -> Any:
    return by_thread(lambda: by_pool(work))


@pytest.mark.parametrize("call", [by_thread, by_pool, by_function, by_thread_of_thread])
def test_they_see_what_each_rank_has(call: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> dict[str, torch.Tensor]:
        rank = dist.get_rank()
        torch.manual_seed(rank)
        total = torch.ones(1) * rank
        dist.all_reduce(total)
        return {
            "made": torch.full((2,), rank),
            "times": torch.ones(2) * rank,
            "drawn": torch.rand(2),
            "total": total,
        }

    with polyrank.lockstep(WORLD_SIZE):
        found = call(work)
        there = work()
    for name, value in there.items():
        for rank in range(WORLD_SIZE):
            assert torch.equal(of_rank(found[name], rank), of_rank(value, rank)), (name, rank)
    torch.manual_seed(3)
    assert torch.equal(of_rank(found["drawn"], 3), torch.rand(2))


def test_what_differs_is_refused_there_too() -> None:
    with (
        polyrank.lockstep(WORLD_SIZE),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(polyrank.DivergenceError),
    ):
        pool.submit(lambda: bool(dist.get_rank() == 0)).result()


def test_they_outlive_the_mode_as_plain_threads() -> None:
    go_on = threading.Event()
    kept: list[Any] = []

    def work() -> None:
        go_on.wait()
        kept.append(torch.rand(2) + torch.ones(2))

    with polyrank.lockstep(WORLD_SIZE):
        thread = threading.Thread(target=work)
        thread.start()
    go_on.set()
    thread.join()
    assert type(kept[0]) is torch.Tensor


def test_threads_that_draw_at_once_share_each_ranks_stream() -> None:
    kept: list[Any] = []

    def draw() -> None:
        kept.extend(torch.rand(1) for _ in range(100))

    with polyrank.lockstep(2):
        torch.manual_seed(dist.get_rank())
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for rank in range(2):
        torch.manual_seed(rank)
        expected = [torch.rand(1).item() for _ in range(400)]
        assert sorted(of_rank(value, rank).item() for value in kept) == sorted(expected)


def test_wrong_arguments_are_pythons_errors() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        with pytest.raises(TypeError, match="callable"):
            _thread.start_new_thread(3, ())  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="tuple"):
            _thread.start_new_thread(print, [])  # type: ignore[call-overload]
