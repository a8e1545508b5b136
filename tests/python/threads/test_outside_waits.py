"""Ranks that block outside of torch.distributed let others run, and standstills are told."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import sleep as held_sleep
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import RanksFailedError
from polyrank.rank_threads import watching

# Rank 0 does the first and rank 1, later, the second, which ends it. Both get what they share.
Pair = tuple[Callable[[Any], object], Callable[[Any], object]]


def _lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _poll_file(folder: Path, is_there: Callable[[Path], bool]) -> None:
    while not is_there(folder / "flag"):
        pass


def _opens(file: Path) -> bool:
    try:
        with file.open():
            return True
    except FileNotFoundError:
        return False


def _touch(folder: Path) -> None:
    (folder / "flag").write_text("x")


def _while(condition: Callable[[], object]) -> None:
    while condition():
        pass


_IN_MEMORY: dict[str, tuple[Callable[[], Any], Pair]] = {
    "lock": (_lock, (lambda lock: lock.acquire(), lambda lock: lock.release())),
    "lock, as a block": (_lock, (lambda lock: lock.__enter__(), lambda lock: lock.release())),
    "lock, with a time-out": (
        _lock,
        (lambda lock: lock.acquire(timeout=60), lambda lock: lock.release()),
    ),
    "event": (threading.Event, (lambda event: event.wait(), lambda event: event.set())),
    "semaphore": (lambda: threading.Semaphore(0), (lambda s: s.acquire(), lambda s: s.release())),
    "barrier": (lambda: threading.Barrier(2), (lambda b: b.wait(), lambda b: b.wait())),
    "queue": (queue.Queue, (lambda q: q.get(), lambda q: q.put(1))),
    "simple queue": (queue.SimpleQueue, (lambda q: q.get(), lambda q: q.put(1))),
    "full queue": (
        lambda: _full_queue(),
        (lambda q: q.put(2), lambda q: q.get()),
    ),
    "pipe": (os.pipe, (lambda p: os.read(p[0], 1), lambda p: os.write(p[1], b"x"))),
    "file of a pipe": (
        os.pipe,
        (lambda p: os.fdopen(p[0]).readline(), lambda p: os.write(p[1], b"x\n")),
    ),
    "select": (os.pipe, (lambda p: select.select([p[0]], [], []), lambda p: os.write(p[1], b"x"))),
    "socket": (socket.socketpair, (lambda s: s[0].recv(1), lambda s: s[1].send(b"x"))),
    "connection": (
        multiprocessing.Pipe,
        (lambda c: c[0].recv(), lambda c: c[1].send("x")),
    ),
    "semaphore of processes": (
        lambda: multiprocessing.Semaphore(0),
        (lambda s: s.acquire(), lambda s: s.release()),
    ),
    "semaphore of processes, as a block": (
        lambda: multiprocessing.Semaphore(0),
        (lambda s: s.__enter__(), lambda s: s.release()),
    ),
    "future of torch": (
        torch.futures.Future,
        (lambda f: f.wait(), lambda f: f.set_result(1)),
    ),
    # asked for again and again
    "event, polled": (
        threading.Event,
        (lambda event: _while(lambda: not event.is_set()), lambda event: event.set()),
    ),
    "queue, polled": (
        queue.SimpleQueue,
        (lambda q: _while(lambda: q.empty()), lambda q: q.put(1)),
    ),
    "lock, polled": (
        _lock,
        (
            lambda lock: _while(lambda: not lock.acquire(blocking=False)),
            lambda lock: lock.release(),
        ),
    ),
    "select, polled": (
        os.pipe,
        (
            lambda p: _while(lambda: not select.select([p[0]], [], [], 0)[0]),
            lambda p: os.write(p[1], b"x"),
        ),
    ),
}


def _full_queue() -> queue.Queue[int]:
    full: queue.Queue[int] = queue.Queue(1)
    full.put(1)
    return full


@pytest.mark.parametrize("name", list(_IN_MEMORY))
def test_who_blocks_lets_the_one_run_that_ends_it(name: str) -> None:
    make, (block, release) = _IN_MEMORY[name]
    shared = make()

    def program() -> float:
        if dist.get_rank() == 0:
            block(shared)
        else:
            release(shared)
        x = torch.ones(1)
        dist.all_reduce(x)
        return x.item()

    assert polyrank.run_ranks(program, 2) == [2.0, 2.0]


@pytest.mark.parametrize(
    "is_there",
    [
        os.path.exists,
        _opens,
        lambda file: file in list(file.parent.iterdir()),
        lambda file: bool(held_sleep(0.001)) or file.exists(),
    ],
)
def test_who_polls_a_file_lets_the_one_run_that_makes_it(
    is_there: Callable[[Path], bool], tmp_path: Path
) -> None:
    def program() -> None:
        if dist.get_rank() == 0:
            _poll_file(tmp_path, is_there)
        else:
            _touch(tmp_path)

    polyrank.run_ranks(program, 2)


def test_a_file_that_another_rank_locks(tmp_path: Path) -> None:
    order: list[int] = []

    def program() -> None:
        rank = dist.get_rank()
        with (tmp_path / "lock").open("w") as file:
            if rank == 1:
                fcntl.flock(file, fcntl.LOCK_EX)
            dist.barrier()
            if rank == 0:
                fcntl.flock(file, fcntl.LOCK_EX)
            order.append(rank)
            if rank == 1:
                held_sleep(0.01)

    polyrank.run_ranks(program, 2)
    assert order == [1, 0]


def test_a_child_process_that_another_rank_ends() -> None:
    children: list[subprocess.Popen[bytes]] = []

    def program() -> None:
        if dist.get_rank() == 0:
            children.append(
                subprocess.Popen(
                    [sys.executable, "-c", "input()"],
                    stdin=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
            children[0].wait()
        else:
            while not children:
                held_sleep(0.001)
            children[0].communicate(b"\n")

    polyrank.run_ranks(program, 2)


@pytest.mark.parametrize(
    "poll",
    [
        lambda store, n: int(store.add("count", 0)) < n,
        lambda store, n: int(store.get("count")) < n,
        lambda store, n: store.compare_set("last", "x", "x") != b"x",
        lambda store, n: not store.check(["last"]),
        lambda store, n: store.num_keys() < store_size(store, n),
    ],
)
def test_who_polls_the_store_lets_others_write(poll: Callable[[Any, int], bool]) -> None:
    def program() -> int:
        rank, n = dist.get_rank(), dist.get_world_size()
        store = dist.distributed_c10d._get_default_store()
        store.set(f"here {rank}", "x")
        store.add("count", 1)
        if rank == n - 1:
            store.set("last", "x")
        _while(lambda: poll(store, n))
        return int(store.add("count", 0)) >= 1

    assert polyrank.run_ranks(program, 4) == [1] * 4


def store_size(store: Any, n: int) -> int:
    return n + 2  # a key of each rank, the count and the last


def test_stores_of_the_program_s_own(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def program() -> list[str]:
        rank, n = dist.get_rank(), dist.get_world_size()
        found = []
        for store in (
            dist.TCPStore("127.0.0.1", port, n, rank == 2, timeout=timedelta(seconds=60)),
            dist.FileStore(str(tmp_path / "store"), n),
        ):
            store.set(f"k{rank}", str(rank))
            found.append(store.get(f"k{(rank + 1) % n}").decode())
            store.wait([f"k{(rank + 2) % n}"])
            store.add("count", 1)
            _while(lambda store=store: int(store.add("count", 0)) < n)  # type: ignore[misc]
        dist.barrier()
        return found

    assert polyrank.run_ranks(program, 3) == [[str((rank + 1) % 3)] * 2 for rank in range(3)]


def test_the_debug_level_may_be_raised_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "OFF")

    def program() -> float:
        os.environ["TORCH_DISTRIBUTED_DEBUG"] = "DETAIL"
        dist.set_debug_level_from_env()
        x = torch.ones(1)
        dist.all_reduce(x, group=dist.new_group(backend=dist.get_backend()))
        return x.item()

    try:
        assert polyrank.run_ranks(program, 2) == [2.0, 2.0]
    finally:
        dist.set_debug_level(dist.DebugLevel.OFF)


def test_a_lock_that_nobody_releases_is_a_standstill() -> None:
    def program() -> None:
        lock = _lock()
        dist.barrier()
        if dist.get_rank() != 1:
            lock.acquire()
        dist.barrier()

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 3)
    error = caught.value.exceptions[0]
    assert isinstance(error, polyrank.DeadlockError)
    assert "ranks 0,2 wait for a lock  " in str(error)
    assert "test_outside_waits.py" in str(error)
    assert "rank 1 waits in barrier" in str(error)


def test_a_lock_that_another_thread_holds_is_waited_for() -> None:
    lock = _lock()
    stranger = threading.Timer(3, lock.release)
    stranger.start()

    def program() -> None:
        with lock:
            pass

    polyrank.run_ranks(program, 2)
    stranger.join()


def test_silence_is_told_with_the_place_of_each_rank(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "_FIRST_SECONDS", 0.3)
    monkeypatch.setattr(watching, "_LOOK_SECONDS", 0.1)
    reader, writer = os.pipe()

    def program() -> None:
        if dist.get_rank() == 0:
            os.read(reader, 1)
        elif dist.get_rank() == 2:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                sum(range(1000))
            os.write(writer, b"x")  # lets rank 0 go on, however late ranks have started
        dist.barrier()

    polyrank.run_ranks(program, 3)
    told = capfd.readouterr().err
    assert "s no rank has launched anything" in told
    assert "rank 0 waits outside, at " in told
    assert "rank 2 has the turn, " in told
    assert "rank 1 waits in barrier" in told
    assert "test_outside_waits.py:" in told


def test_queues_that_are_asked_in_every_way() -> None:
    def program() -> list[object]:
        own: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(6):
            own.put(number) if number % 2 else own.put_nowait(number)
        taken: list[object] = [own.get(), own.get(False), own.get(block=False), own.get(True, 1)]
        taken += [own.get(timeout=1), own.get_nowait()]
        for ask in (own.get_nowait, lambda: own.get(False), lambda: own.get(timeout=0.01)):
            with pytest.raises(queue.Empty):
                ask()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            pool.shutdown(wait=False, cancel_futures=True)
        return taken

    assert polyrank.run_ranks(program, 2) == [[0, 1, 2, 3, 4, 5]] * 2
