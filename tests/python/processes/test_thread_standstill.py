"""Deadlocks of ranks that have other threads: named where no thread can end them, and only there."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.process_ranks import supervisor


def run(program: Callable[..., Any], world_size: int) -> list[Any]:
    return polyrank.run_ranks(program, world_size, world="processes")


def start(function: Callable[..., Any], *args: Any) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def idle_workers() -> None:
    pool = ThreadPoolExecutor(2)
    assert list(pool.map(abs, [-1, -2])) == [1, 2]


def waits_for_a_queue() -> None:
    start(queue.Queue[int]().get)


def waits_for_an_event() -> None:
    start(threading.Event().wait)


def waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    start(lock.acquire)


def launches_as_well() -> None:
    start(lambda: dist.recv(torch.zeros(1), src=1 - dist.get_rank(), tag=1))


@pytest.mark.parametrize(
    "begin",
    [idle_workers, waits_for_a_queue, waits_for_an_event, waits_for_a_lock, launches_as_well],
)
def test_nobody_can_go_on_beside_threads_that_sleep_for_good(begin: Callable[[], None]) -> None:
    def program() -> None:
        if dist.get_rank() == 1:
            begin()
        dist.recv(torch.zeros(1), src=1 - dist.get_rank())

    with pytest.raises(polyrank.RanksFailedError, match="no rank can proceed") as raised:
        run(program, 2)
    assert raised.group_contains(polyrank.DeadlockError)


def joins_a_thread_that_waits() -> None:
    thread = threading.Thread(target=lambda: dist.all_reduce(torch.zeros(1)))
    thread.start()
    thread.join()


def waits_for_an_event_that_nobody_sets() -> None:
    threading.Event().wait()


def waits_for_a_future_that_nobody_sets() -> None:
    torch.futures.Future[int]().wait()  # in C++, where no signal is looked at


@pytest.mark.parametrize(
    ("sleep", "end"),
    [
        (joins_a_thread_that_waits, "A thread of rank 1 waits for rank 0, which has returned."),
        (waits_for_an_event_that_nobody_sets, None),
    ],
)
def test_a_first_thread_that_sleeps_for_good_is_told(
    sleep: Callable[[], None], end: str | None
) -> None:
    def program() -> None:
        if dist.get_rank() == 1:
            sleep()
        elif end is None:
            dist.recv(torch.zeros(1), src=1)

    with pytest.raises(polyrank.RanksFailedError, match="no rank can proceed") as raised:
        run(program, 2)
    text = "".join(traceback.format_exception(raised.value))
    assert "rank 1 sleeps until another thread of its own wakes it" in text
    assert sleep.__name__ in text  # where it slept
    assert (end or "Rank 0 waits for rank 1, which sleeps until another thread of its own") in text


def test_a_first_thread_that_no_signal_wakes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_AFTER_FAILURE_SECONDS", 0.5)
    monkeypatch.setattr(supervisor, "_STEP_SECONDS", 0.5)

    def program() -> None:
        if dist.get_rank() == 1:
            waits_for_a_future_that_nobody_sets()
        else:
            dist.recv(torch.zeros(1), src=1)

    with pytest.raises(polyrank.RanksFailedError, match="no rank can proceed"):
        run(program, 2)


def send() -> None:
    dist.send(torch.ones(1), dst=0)


def sleeps_and_sends() -> None:
    def later() -> None:
        time.sleep(0.4)
        send()

    start(later)


def sends_when_an_event_is_set_in_time() -> None:
    event = threading.Event()

    def later() -> None:
        event.wait(0.4)  # nobody sets it
        send()

    start(later)


def sends_when_a_child_ends() -> None:
    def later() -> None:
        subprocess.run(["sleep", "0.4"], check=True)
        send()

    start(later)


def sends_when_a_child_writes() -> None:
    source, sink = os.pipe()

    def later() -> None:
        os.read(source, 1)
        send()

    subprocess.Popen(["/bin/sh", "-c", "sleep 0.4; echo x"], stdout=sink)
    start(later)


def sends_after_a_chain_of_threads() -> None:
    first, second = threading.Event(), threading.Event()

    def sleeps() -> None:
        time.sleep(0.4)
        first.set()

    def passes_on() -> None:
        first.wait()
        second.set()

    def sends() -> None:
        second.wait()
        send()

    for function in (sends, passes_on, sleeps):
        start(function)


def test_a_first_thread_that_will_go_on_is_not_accused() -> None:
    def program() -> float:
        x = torch.zeros(1)
        if dist.get_rank() == 1:
            event = threading.Event()
            start(lambda: (time.sleep(0.6), event.set()))
            event.wait()
            send()
        else:
            dist.recv(x, src=1)
        return x.item()

    assert run(program, 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    "begin",
    [
        sleeps_and_sends,
        sends_when_an_event_is_set_in_time,
        sends_when_a_child_ends,
        sends_when_a_child_writes,
        sends_after_a_chain_of_threads,
    ],
)
def test_a_thread_that_will_go_on_is_not_accused(begin: Callable[[], None]) -> None:
    def program() -> float:
        x = torch.zeros(1)
        if dist.get_rank() == 1:
            begin()
            dist.recv(torch.zeros(1), src=0, tag=2)
        else:
            dist.recv(x, src=1)
            dist.send(x, dst=1, tag=2)
        return x.item()

    assert run(program, 2) == [1.0, 0.0]
