"""Key-value stores of torch.distributed, as all ranks of a lockstep program use them.

One call is made by every rank, in the order of ranks: `add` adds once for each, and gives each the sum
that it saw. Keys and values may be text of numbers that differ (`f"k{rank}"`), which is each rank's own
here. Nobody else will set a key that is not there, so waiting for it is an error at once. A store that
the program makes itself is a real one, which has all its members at hand; a HashStore lives in its process's
memory, so each rank has its own.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch._C._distributed_c10d import HashStore

from polyrank.errors import DeadlockError, DivergenceError, UnsupportedOpError
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, rank_dependent_int
from polyrank.rank_text.marked import text_on_ranks
from polyrank.rank_text.names import refuse_as_name
from polyrank.replacing.row import Make, Row, with_original
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS", "store_of_all_ranks"]

Key = str
Value = str | bytes


def _by_rank(ranks: list[int], *values: Any) -> dict[int, tuple[Any, ...]] | None:
    """The arguments on each rank; None where all have the same."""
    columns = [_values_by_rank(ranks, value) for value in values]
    if all(column is None for column in columns):
        return None
    return {
        rank: tuple(
            value if column is None else column[rank]
            for value, column in zip(values, columns, strict=True)
        )
        for rank in ranks
    }


def _values_by_rank(ranks: list[int], value: Any) -> dict[int, Any] | None:
    if is_rank_dependent_number(value):
        of_rank = value.node._local_ints
        return {rank: of_rank[rank] for rank in ranks}
    if isinstance(value, list | tuple):
        entries = _by_rank(ranks, *value)
        return None if entries is None else {rank: list(own) for rank, own in entries.items()}
    return text_on_ranks(value, ranks) if isinstance(value, str | bytes) else None


def _one(results: dict[int, Any], what: str) -> Any:
    """The one result that all ranks have."""
    first = next(iter(results.values()))
    for rank, result in results.items():
        if result != first:
            raise DivergenceError(
                f"{what} of a store gives {first!r} on rank {next(iter(results))} and {result!r} on "
                f"rank {rank}. One program runs for all ranks and needs one value here: exchange tensors or "
                "objects by collectives, which keep each rank's, or run the program in the threads "
                "world (`polyrank run --world threads`)."
            )
    return first


# --- Waiting ------------------------------------------------------------------------------------

_MOST_SECONDS_UNCHANGED = 10
_MOST_READS_UNCHANGED = 1000


class _Reads:
    """How often and since when a store was read without a write in between."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0


_reads: weakref.WeakKeyDictionary[Any, _Reads] = weakref.WeakKeyDictionary()


def _is_alone() -> bool:
    """Whether no other thread of the program could set a key."""
    return threading.active_count() == 1


def _refuse_to_wait(what: str) -> NoReturn:
    raise DeadlockError(
        f"no rank can proceed: all ranks wait for {what} of the store, which none of them has set. In "
        "lockstep all ranks are at the same line; let one of them set it before, or run the program in "
        "the threads world (`polyrank run --world threads`)."
    )


def _count_read(store: Any) -> None:
    """Note a read that changes nothing; an error when only they are made, for long: it is a poll."""
    reads = _reads.setdefault(store, _Reads())
    reads.count += 1
    if reads.count == 1:
        reads.since = time.monotonic()
    elif (
        reads.count > _MOST_READS_UNCHANGED
        and time.monotonic() - reads.since > _MOST_SECONDS_UNCHANGED
        and _is_alone()
    ):
        _refuse_to_wait(f"another value ({reads.count} reads found the same)")


def _wrote(store: Any) -> None:
    _reads.pop(store, None)


# --- Operations ---------------------------------------------------------------------------------


def _set(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, value: Value
) -> None:
    _wrote(store)
    by_rank = _by_rank(ranks, key, value)
    if by_rank is None:
        original(store, key, value)
        return
    of_key: dict[Key, dict[int, Value]] = {}
    for rank, (own_key, own) in by_rank.items():
        of_key.setdefault(own_key, {})[rank] = own
    for own_key, values in of_key.items():
        original(store, own_key, _one(values, f"what ranks set under the key {own_key!r}"))


def _get(ranks: list[int], original: Callable[..., Any], store: Any, key: Key) -> bytes:
    _count_read(store)
    by_rank = _by_rank(ranks, key)
    keys = [key] if by_rank is None else sorted({own for (own,) in by_rank.values()})
    _require(store, keys)
    values = {own: original(store, own) for own in keys}
    results = {0: values[key]} if by_rank is None else {r: values[k] for r, (k,) in by_rank.items()}
    return _one(results, "get()")  # type: ignore[no-any-return]


def _require(store: Any, keys: Sequence[Key]) -> None:
    missing = [key for key in keys if not _ORIGINALS["check"](store, [key])]
    if missing and _is_alone():
        _refuse_to_wait(f"the key {missing[0]!r}")


def _add(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, amount: Any
) -> int | torch.SymInt:
    by_rank = _by_rank(ranks, key, amount)
    if by_rank is None and amount == 0:
        _count_read(store)
        return original(store, key, 0)  # type: ignore[no-any-return]
    _wrote(store)
    if by_rank is None:
        total = original(store, key, amount * len(ranks))
        before = total - amount * len(ranks)
        return rank_dependent_int({rank: before + amount * i for i, rank in enumerate(ranks, 1)})
    return rank_dependent_int({rank: original(store, *own) for rank, own in by_rank.items()})


def _compare_set(
    ranks: list[int],
    original: Callable[..., Any],
    store: Any,
    key: Key,
    expected: Any,
    desired: Any,
) -> bytes:
    by_rank = _by_rank(ranks, key, expected, desired)
    if by_rank is None:  # what the first rank leaves, the others find
        if original(store, key, expected, desired) == _as_bytes(desired):
            _wrote(store)
        else:
            _count_read(store)
        return original(store, key, expected, desired)  # type: ignore[no-any-return]
    _wrote(store)
    results = {rank: original(store, *own) for rank, own in by_rank.items()}
    return _one(results, "compare_set()")  # type: ignore[no-any-return]


def _as_bytes(value: Value) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _append(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, value: Any
) -> None:
    _wrote(store)
    by_rank = _by_rank(ranks, key, value)
    if by_rank is None:
        original(store, key, value * len(ranks))
        return
    for own in by_rank.values():
        original(store, *own)


def _check(ranks: list[int], original: Callable[..., Any], store: Any, keys: list[Key]) -> bool:
    _count_read(store)
    by_rank = _by_rank(ranks, keys)
    if by_rank is None:
        return original(store, keys)  # type: ignore[no-any-return]
    results = {rank: original(store, *own) for rank, own in by_rank.items()}
    return _one(results, "check()")  # type: ignore[no-any-return]


def _wait(
    ranks: list[int], original: Callable[..., Any], store: Any, keys: list[Key], *timeout: Any
) -> None:
    by_rank = _by_rank(ranks, keys)
    for own in [keys] if by_rank is None else [own for (own,) in by_rank.values()]:
        if timeout:  # the program's own, whose error it may expect
            original(store, own, *timeout)
            _count_read(store)
        else:
            _require(store, own)
            original(store, own)


def _multi_get(ranks: list[int], original: Callable[..., Any], store: Any, keys: list[Key]) -> Any:
    _count_read(store)
    by_rank = _by_rank(ranks, keys)
    for own in [keys] if by_rank is None else [own for (own,) in by_rank.values()]:
        _require(store, own)
    if by_rank is None:
        return original(store, keys)
    return _one({rank: original(store, *own) for rank, own in by_rank.items()}, "multi_get()")


def _multi_set(
    ranks: list[int], original: Callable[..., Any], store: Any, keys: list[Key], values: list[Any]
) -> None:
    for key, value in zip(keys, values, strict=True):
        _set(ranks, _ORIGINALS["set"], store, key, value)


def _delete_key(ranks: list[int], original: Callable[..., Any], store: Any, key: Key) -> Any:
    _wrote(store)
    by_rank = _by_rank(ranks, key)
    if by_rank is None:  # the first rank finds it, the others don't
        was_there = original(store, key)
        return rank_dependent_int({r: int(was_there and r == ranks[0]) for r in ranks}) == 1
    return rank_dependent_int({r: int(original(store, *own)) for r, own in by_rank.items()}) == 1


def _queue_push(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, value: Any
) -> None:
    _wrote(store)
    by_rank = _by_rank(ranks, key, value) or dict.fromkeys(ranks, (key, value))
    for own in by_rank.values():
        original(store, *own)


def _queue_pop(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, block: bool = True
) -> Any:
    _wrote(store)
    by_rank = _by_rank(ranks, key) or dict.fromkeys(ranks, (key,))
    results = {}
    for rank, (own,) in by_rank.items():
        if block and store.queue_len(own) == 0 and _is_alone():
            _refuse_to_wait(f"an entry of the queue {own!r}")
        results[rank] = original(store, own, block)
    return _one(results, "queue_pop()")


def _barrier(
    ranks: list[int], original: Callable[..., Any], store: Any, key: Key, world_size: int, *_: Any
) -> None:
    if world_size != len(ranks):
        _refuse_to_wait(f"{world_size} ranks at the barrier {key!r}, of {len(ranks)}")


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "set": _set,
    "get": _get,
    "add": _add,
    "compare_set": _compare_set,
    "append": _append,
    "check": _check,
    "wait": _wait,
    "multi_get": _multi_get,
    "multi_set": _multi_set,
    "delete_key": _delete_key,
    "queue_push": _queue_push,
    "queue_pop": _queue_pop,
    "barrier": _barrier,
}
_ORIGINALS: dict[str, Callable[..., Any]] = {}  # of those, once ours are in place


# --- Stores of the program's own ----------------------------------------------------------------


def _make_tcp_store(
    ranks: list[int],
    original: Callable[..., None],
    store: Any,
    host_name: str,
    port: int,
    world_size: int | None = None,
    is_master: Any = False,
    *args: Any,
    **kwargs: Any,
) -> None:
    refuse_as_name([host_name])
    kwargs["wait_for_workers"] = False
    del is_master  # rank 0 is among those who run
    original(store, host_name, port, None, True, *args[:1], **kwargs)


def _make_file_store(
    ranks: list[int], original: Callable[..., None], store: Any, file_name: str, *_: Any, **__: Any
) -> None:
    refuse_as_name([file_name])
    original(store, file_name, 1)


def _refuse_rpc(*_: Any, **__: Any) -> NoReturn:
    raise UnsupportedOpError(
        "torch.distributed.rpc calls functions of other processes, and here one process runs all ranks. "
        "Exchange tensors and objects by collectives, or make each rank a process: "
        "`polyrank run --world processes`."
    )


def _on_ranks(own: Callable[..., Any]) -> Make:
    """`own(ranks, original, …)` for the ranks of an enabled mode; the original outside of one."""

    def run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        mode = enabled_local_tensor_mode()
        if mode is None:
            return original(*args, **kwargs)
        return own(sorted(mode.ranks), original, *args, **kwargs)

    return with_original(run)


def _make_prefix_store(
    ranks: list[int], original: Callable[..., None], store: Any, prefix: str, underlying: Any
) -> None:
    if text_on_ranks(prefix, ranks) is not None:
        raise DivergenceError(
            f"each rank would put another prefix before its keys: {prefix}. One program runs for all ranks, "
            'with one PrefixStore: put the number into the key (`store.set(f"{rank}/key", …)`), which is '
            "each rank's, or run the program in the threads world (`polyrank run --world threads`)."
        )
    original(store, prefix, underlying)
    if underlying in _of_each_rank:
        _of_each_rank.add(store)


def _refuse_by_rank(ranks: list[int], name: str, values: list[Any]) -> None:
    if _by_rank(ranks, *values) is not None:
        raise DivergenceError(
            f"{name}() of a HashStore with values that differ between ranks: each rank has a HashStore of "
            "its own, and one program runs for all, with one. Use a store that all ranks share (a TCPStore, "
            "that of the default group), polyrank.PerRank for each rank's values, or run the program in the "
            "threads world (`polyrank run --world threads`)."
        )


_of_each_rank: weakref.WeakSet[Any] = weakref.WeakSet()  # stores


def _make_hash_store(ranks: list[int], original: Callable[..., None], store: Any) -> None:
    original(store)
    _of_each_rank.add(store)


def store_of_all_ranks() -> HashStore:
    """The store of a default group, which processes reach over a network."""
    store = HashStore()
    _of_each_rank.discard(store)
    return store


def _operation(name: str, own: Callable[..., Any]) -> Row:
    def act(
        ranks: list[int], original: Callable[..., Any], store: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if store in _of_each_rank:
            _refuse_by_rank(ranks, name, [*args, *kwargs.values()])
            ranks = ranks[:1]  # which stands for all
        return own(ranks, original, store, *args, **kwargs)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        _ORIGINALS[name] = original
        return _on_ranks(act)(original)

    return Row("torch.distributed:Store", name, make, "acts once, and each rank calls it")


_PROCESSES = "waits for other processes"

ROWS = (
    *(_operation(name, own) for name, own in _OPERATIONS.items()),
    Row("torch.distributed:TCPStore", "__init__", _on_ranks(_make_tcp_store), _PROCESSES),
    Row(
        "torch.distributed:PrefixStore",
        "__init__",
        _on_ranks(_make_prefix_store),
        "has one prefix for all ranks",
    ),
    Row(
        "torch.distributed:HashStore",
        "__init__",
        _on_ranks(_make_hash_store),
        "is in the memory of each rank's process",
    ),
    Row("torch.distributed:FileStore", "__init__", _on_ranks(_make_file_store), _PROCESSES),
    Row("torch.distributed.rpc", "init_rpc", _on_ranks(_refuse_rpc), _PROCESSES),
)
