"""PyTorch's test classes whose ranks are threads, on polyrank's threads world.

MultiThreadedTestCase starts a thread per rank in setUp() and joins them in the test's place. Here the
ranks run when they are joined: a failing rank ends the others, a hang is explained at once.
"""

from __future__ import annotations

import functools
import inspect
import sys
import unittest
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from polyrank.rank_threads.run_ranks import RanksFailedError, run_processes
from polyrank.replacing.row import Row

__all__ = ["ROWS"]

_MODULE = "torch.testing._internal.common_distributed"


class _PendingRanks(list[Any]):
    """In the place of the list of threads: ranks that have not run yet."""

    def __init__(self, program: Callable[[int], None], world_size: int) -> None:
        super().__init__()
        self.program = program
        self.world_size = world_size


def _make_spawn_threads(original: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(original)
    def _spawn_threads(self: Any) -> None:
        case, name, world_size = type(self), self._current_test_name, self.world_size
        case.global_store = HashStore()  # for tests that read it; ranks have one of their own
        self.threads = _PendingRanks(lambda rank: case._run(name, rank, world_size), world_size)

    return _spawn_threads


def _make_run_test(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def run_test_with_threaded_pg(self: Any, test_name: str, rank: int, world_size: int) -> None:
        dist.init_process_group(backend="threaded", rank=rank, world_size=world_size)
        self.perThreadSetUp()
        try:
            _run_on_rank(type(self), rank, getattr(self, test_name))
        finally:
            self.perThreadTearDown()

    return run_test_with_threaded_pg


def _make_join_threads(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def _join_threads(cls: Any, threads: Any, fn: Any) -> None:
        if not isinstance(threads, _PendingRanks):
            original(cls, threads, fn)
            return
        _failures_of(cls)  # what an earlier test left
        try:
            run_processes(threads.program, threads.world_size)
        except RanksFailedError:
            failures = _failures_of(cls)
            if not failures:
                raise
        else:
            failures = _failures_of(cls)  # skipped, or asked to exit
        cls._check_return_codes(failures, vars(sys.modules[_MODULE])["TIMEOUT_DEFAULT"], fn)

    return _join_threads


def _make_spawn_and_init(original: Callable[..., Any]) -> Callable[..., Any]:
    case: Any = vars(sys.modules[_MODULE])["MultiThreadedTestCase"]
    default_world_size = inspect.signature(original).parameters["world_size"].default

    @functools.wraps(original)
    def spawn_threads_and_init_comms(
        func: Callable[..., Any] | None = None, *arguments: Any, **named: Any
    ) -> Any:
        given = dict(zip(("timeout", "world_size"), arguments, strict=False)) | named
        if func is None:
            return functools.partial(spawn_threads_and_init_comms, **given)
        world_size = given.get("world_size", default_world_size)

        @functools.wraps(func)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
            def program(rank: int) -> None:
                dist.init_process_group(backend="threaded", rank=rank, world_size=world_size)
                _run_on_rank(case, rank, lambda: func(self, *args, **kwargs))

            case._join_threads(_PendingRanks(program, world_size), func)

        return wrapper

    return spawn_threads_and_init_comms


def _run_on_rank(case: Any, rank: int, test: Callable[[], Any]) -> None:
    """Run a test; what it raises is reported as PyTorch's class does, and ends the other ranks."""
    try:
        test()
    except (unittest.SkipTest, SystemExit):
        case.exception_queue.put((rank, sys.exc_info()))  # the others may skip too
    except BaseException:
        case.exception_queue.put((rank, sys.exc_info()))
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _failures_of(case: Any) -> list[Any]:
    failures = []
    while not case.exception_queue.empty():
        failures.append(case.exception_queue.get())
    return failures


_CASE = f"{_MODULE}:MultiThreadedTestCase"
_WHY = "starts threads that share one process's state"

ROWS = (
    Row(_CASE, "_spawn_threads", _make_spawn_threads, _WHY),
    Row(_CASE, "run_test_with_threaded_pg", _make_run_test, _WHY),
    Row(_CASE, "_join_threads", _make_join_threads, _WHY),
    Row(_MODULE, "spawn_threads_and_init_comms", _make_spawn_and_init, _WHY),
)
