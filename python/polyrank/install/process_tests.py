"""PyTorch's test classes whose ranks are processes that it starts, in a world of polyrank's.

MultiProcessTestCase, and what derives from it (DTensorTestBase, DistributedTestBase, the classes of
DistributedTest), starts a process a rank in setUp(), which imports torch anew, and waits for all in
the test's place. Here the ranks run when they are waited for, as threads or forked off this process;
a failing rank ends the others and is raised as it is, a hang is explained at once.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import unittest
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

from polyrank.any_world.failed_ranks import RanksFailedError
from polyrank.errors import UsageError
from polyrank.replacing.row import Row

__all__ = ["ROWS", "WORLDS", "run_process_tests_in"]

_MODULE = "torch.testing._internal.common_distributed"
WORLDS = ("threads", "processes")

_world = WORLDS[0]


def run_process_tests_in(world: str) -> Callable[[], None]:
    """Run ranks of such classes in a world from now on; call what is returned to end that.

    Raises:
        UsageError: it is no world for them.
    """
    global _world  # noqa: PLW0603 - what the process's tests run in
    from polyrank.replacing.layers import PROCESS_TESTS

    if world not in WORLDS:
        raise UsageError(f"PyTorch's test classes run in {' or '.join(WORLDS)}, not {world!r}")
    _world = world
    PROCESS_TESTS.enter()
    return PROCESS_TESTS.leave


class _Rank:
    """In the place of a process: a rank that has not run yet, or has ended."""

    def __init__(self, rank: int, program: Callable[[], int]) -> None:
        self.pid = -1 - rank  # of no process
        self.program = program
        self.exitcode: int | None = None

    def terminate(self) -> None:
        """It has ended."""

    kill = join = close = terminate


class _Pipe:
    """In the place of the pipe to the process that waits, which finds out by itself."""

    def send(self, message: object) -> None:
        """It is raised, too."""

    def close(self) -> None:
        """There is nothing to close."""


class ExitedError(RuntimeError):
    """A rank's test asked to exit with a code that says that it has failed."""


def _make_start_processes(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def _start_processes(self: Any, proc: Any) -> None:
        case, name, file_name = type(self), self._current_test_name(), self.file_name
        named = {"fake_pg": getattr(self, "fake_pg", False)}

        def program(rank: int) -> int:
            return _exit_code_of(lambda: case._run(rank, name, file_name, _Pipe(), **named))

        self.processes = [
            _Rank(rank, functools.partial(program, rank)) for rank in range(int(self.world_size))
        ]

    return _start_processes


def _exit_code_of(run: Callable[[], None]) -> int:
    """How a rank's process would exit, where others may go on: 0, or a code that says "skipped".

    Raises: what the test does, and ExitedError for another code.
    """
    try:
        run()
    except SystemExit as request:
        code = request.code or 0
        skips = vars(sys.modules[_MODULE])["TEST_SKIPS"].values()
        if code == 0 or code in {skip.exit_code for skip in skips}:
            return int(code)
        raise ExitedError(f"the test exited with {code!r}") from request
    return 0


def _make_run_test(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def run_test(self: Any, test_name: str, parent_pipe: Any) -> None:
        module = vars(sys.modules[_MODULE])
        module["common_utils"].set_rng_seed()
        try:
            getattr(self, test_name)()
        except unittest.SkipTest:
            sys.exit(module["TEST_SKIPS"]["generic"].exit_code)
        if self.destroy_pg_upon_exit:
            with contextlib.suppress(AssertionError, ValueError):
                dist.destroy_process_group()

    return run_test


def _make_join_processes(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def _join_processes(self: Any, fn: Any) -> None:
        ranks = self.processes
        if not all(isinstance(rank, _Rank) for rank in ranks):
            original(self, fn)
            return
        started = time.monotonic()
        try:
            codes = _run([rank.program for rank in ranks]) if ranks else []
        except RanksFailedError:
            if fn in self.skip_return_code_checks:  # it is meant to fail
                return
            raise
        for rank, code in zip(ranks, codes, strict=True):
            rank.exitcode = code
        self._check_return_codes(fn, time.monotonic() - started)

    return _join_processes


@contextlib.contextmanager
def _barriers_of_threads() -> Iterator[None]:
    """DistributedTest's barrier, where its module is loaded, meets in the ranks' store.

    Theirs counts files that are named by process. It is no row of the table: the module can't be imported by
    everybody, since it asks the environment for a backend.
    """
    module = sys.modules.get("torch.testing._internal.distributed.distributed_test")
    with (
        unittest.mock.patch.object(module.Barrier, "sync", _sync)
        if module is not None
        else contextlib.nullcontext()
    ):
        yield


def _sync(wait_for: int | None = None, timeout: float = 10) -> None:
    store = PrefixStore("Barrier.sync", dist.distributed_c10d._get_default_store())
    barrier = store.add(f"calls of rank {dist.get_rank()}", 1)
    if store.add(f"arrived at {barrier}", 1) == (wait_for or dist.get_world_size()):
        store.set(f"left {barrier}", "")
    store.wait([f"left {barrier}"])


def _run(programs: list[Callable[[], int]]) -> list[int]:
    """Run each as a rank, which makes its default group itself; their exit codes."""
    from polyrank.rank_threads.run_ranks import run_processes, run_ranks

    if _world == "processes":

        def own_program() -> int:
            return programs[_rank_of_process()]()

        return run_ranks(own_program, len(programs), world="processes")
    codes = [0] * len(programs)

    def program(rank: int) -> None:
        codes[rank] = programs[rank]()

    with _barriers_of_threads():
        run_processes(program, len(programs))
    return codes


def _rank_of_process() -> int:
    from polyrank.process_ranks.this_process import rank_of_process

    own = rank_of_process()
    assert own is not None  # noqa: S101
    return own.rank


_CASE = f"{_MODULE}:MultiProcessTestCase"
_WHY = "starts a process a rank, which imports torch anew"

ROWS = (
    Row(_CASE, "_start_processes", _make_start_processes, _WHY),
    Row(_CASE, "_join_processes", _make_join_processes, _WHY),
    Row(
        _CASE, "run_test", _make_run_test, "listens to a pipe on a thread, and hides what is raised"
    ),
)
