"""Stores in lockstep: each call is made by all ranks, and nobody waits for what can't come."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DeadlockError, DivergenceError, UnsupportedOpError
from polyrank.lockstep_world import stores as lockstep_stores


def of_all_ranks() -> dist.Store:
    return dist.distributed_c10d._get_default_store()


@pytest.fixture
def rank(world4: None) -> Any:
    return dist.get_rank()


@pytest.fixture(params=["default", "prefix", "file", "tcp"])
def store(request: pytest.FixtureRequest, rank: Any, tmp_path: Path) -> Iterator[dist.Store]:
    """A store that the program has or makes."""
    if request.param == "default":
        yield of_all_ranks()
    elif request.param == "prefix":
        yield dist.PrefixStore("a", of_all_ranks())
    elif request.param == "file":
        yield dist.FileStore(str(tmp_path / "store"), 4)
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield dist.TCPStore("127.0.0.1", port, 4, rank == 0, datetime.timedelta(seconds=30))


def by_rank(value: Any) -> list[int]:
    return [value.node._local_ints[rank] for rank in range(4)]


def test_add_adds_for_each_rank(store: dist.Store, rank: Any) -> None:
    assert by_rank(store.add("n", 2)) == [2, 4, 6, 8]
    assert store.add("n", 0) == 8
    assert by_rank(store.add("n", rank)) == [8, 9, 11, 14]
    assert store.add("n", 0) == 14


def test_each_rank_has_keys_of_its_own(store: dist.Store, rank: Any) -> None:
    store.set(f"k{rank:02d}", f"{rank}")
    assert [store.get(f"k0{r}") for r in range(4)] == [b"0", b"1", b"2", b"3"]
    assert store.add(f"own{rank}", 5) == 5
    assert [store.add(f"own{r}", 0) for r in range(4)] == [5, 5, 5, 5]


def test_what_differs_is_refused(store: dist.Store, rank: Any) -> None:
    store.set(f"k{rank}", f"{rank}")
    for use in (
        lambda: store.get(f"k{rank}"),
        lambda: store.set("common", f"{rank}"),
        lambda: store.check([f"k{rank // 2}", f"k{rank + 2}"]),
    ):
        with pytest.raises(DivergenceError, match="on rank"):
            use()


def test_the_first_rank_deletes_a_key(world4: None) -> None:
    store = of_all_ranks()
    store.set("k", "v")
    deleted: Any = store.delete_key("k")
    assert [deleted.node._local_ints[rank] for rank in range(4)] == [True, False, False, False]
    assert not store.check(["k"])


def test_queues_have_an_entry_of_each_rank(world4: None) -> None:
    store = of_all_ranks()
    store.queue_push("q", "v")
    assert store.queue_len("q") == 4
    assert store.queue_pop("q") == b"v"
    assert store.queue_len("q") == 0
    with pytest.raises(DeadlockError, match="an entry of the queue 'q'"):
        store.queue_pop("q")


WAITS: dict[str, Callable[[dist.Store], object]] = {
    "get": lambda store: store.get("none"),
    "wait": lambda store: store.wait(["none"]),
    "multi_get": lambda store: store.multi_get(["none"]),
    "barrier": lambda store: store.barrier("all", 5),
}


@pytest.mark.parametrize("how", WAITS)
def test_nobody_waits_for_a_key_that_nobody_sets(how: str, world4: None) -> None:
    with pytest.raises(DeadlockError, match="no rank can proceed"):
        WAITS[how](of_all_ranks())


def test_a_time_out_of_the_programs_own_is_the_stores_error(world4: None) -> None:
    with pytest.raises(dist.DistStoreError):
        of_all_ranks().wait(["none"], datetime.timedelta(milliseconds=1))


POLLS: dict[str, Callable[[dist.Store], object]] = {
    "add": lambda store: store.add("n", 0) == 1,
    "get": lambda store: store.get("k") == b"done",
    "check": lambda store: store.check(["none"]),
    "compare_set": lambda store: store.compare_set("k", "done", "done") == b"done",
}


@pytest.mark.parametrize("how", POLLS)
def test_a_poll_that_nobody_can_end_ends(
    how: str, world4: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockstep_stores, "_MOST_SECONDS_UNCHANGED", 0.0)
    store = of_all_ranks()
    store.set("k", "working")
    with pytest.raises(DeadlockError, match="reads found the same"):
        while not POLLS[how](store):
            pass


def test_a_thread_of_the_program_may_set_the_key(world4: None) -> None:
    store = of_all_ranks()
    timer = threading.Timer(0.2, lambda: store.set("late", "v"))
    timer.start()
    assert store.get("late") == b"v"
    timer.join()


def test_many_ranks_have_too_many_texts() -> None:
    with polyrank.lockstep(40), pytest.raises(DivergenceError, match="too many different values"):
        of_all_ranks().set(f"k{dist.get_rank()}", "v")


@pytest.fixture(params=["hash", "prefix"])
def own(request: pytest.FixtureRequest, world4: None) -> dist.Store:
    """A store in the memory of each rank's process."""
    store = dist.HashStore()
    return dist.PrefixStore("a", store) if request.param == "prefix" else store


def test_a_hash_store_is_each_ranks(own: dist.Store) -> None:
    assert [own.add("n", 1), own.add("n", 1)] == [1, 2]
    own.append("text", "ab")
    assert own.get("text") == b"ab"
    assert own.compare_set("k", "", "v") == b"v"
    assert own.compare_set("k", "", "w") == b"v"
    own.queue_push("q", "v")
    assert own.queue_len("q") == 1
    assert own.queue_pop("q") == b"v"
    assert own.delete_key("k") is True
    assert not own.check(["k"])


@pytest.mark.parametrize("how", WAITS)
def test_nobody_else_sets_a_key_of_ones_own_store(how: str, own: dist.Store) -> None:
    with pytest.raises(DeadlockError, match="no rank can proceed"):
        WAITS[how](own)


OF_RANKS: dict[str, Callable[[dist.Store, Any], object]] = {
    "set": lambda store, rank: store.set("k", f"{rank}"),
    "get": lambda store, rank: store.get(f"k{rank}"),
    "add": lambda store, rank: store.add("n", rank),
    "check": lambda store, rank: store.check([f"k{rank}"]),
}


@pytest.mark.parametrize("how", OF_RANKS)
def test_a_hash_store_is_one_for_all_ranks_here(how: str, own: dist.Store, rank: Any) -> None:
    with pytest.raises(DivergenceError, match="a HashStore of its own"):
        OF_RANKS[how](own, rank)


def test_outside_of_a_mode_a_store_is_one_processs() -> None:
    with polyrank.lockstep(2):
        store = dist.HashStore()
    assert store.add("n", 1) == 1
    assert store.add("n", 1) == 2


def test_remote_calls_are_refused(world4: None) -> None:
    with pytest.raises(UnsupportedOpError, match="--world processes"):
        torch.distributed.rpc.init_rpc("worker", rank=0, world_size=4)


def test_a_prefix_that_differs_is_refused() -> None:
    with polyrank.lockstep(4):
        store = dist.HashStore()
        with pytest.raises(polyrank.DivergenceError, match="another prefix"):
            dist.PrefixStore(f"p{dist.get_rank()}", store)
        dist.PrefixStore(f"p{dist.get_world_size()}", store).set("n", "1")
        assert store.check(["p4/n"])
