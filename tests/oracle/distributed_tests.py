"""PyTorch's own DistributedTest, at 4 ranks: in a world of polyrank's, or in gloo's processes.

    python distributed_tests.py processes|threads|gloo [NAME…]

prints a line `NAME OUTCOME` for each test: passed, skipped, or failed with the first line of why.
Each test runs in a process forked for it, so that none is in another's way.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORLD_SIZE = 4
SECONDS = 90.0  # that a test may take
_FOLDER = tempfile.TemporaryDirectory()
os.environ.update(
    BACKEND="gloo", WORLD_SIZE=str(WORLD_SIZE), TEMP_DIR=_FOLDER.name, MASTER_ADDR="127.0.0.1"
)

import polyrank  # noqa: E402
from torch import distributed as dist  # noqa: E402 - PyTorch's tests read the variables as they load
from torch import multiprocessing  # noqa: E402
from torch.testing._internal import common_distributed  # noqa: E402
from torch.testing._internal.distributed import distributed_test  # noqa: E402

_SKIPS = {skip.exit_code for skip in common_distributed.TEST_SKIPS.values()}
_Outcome = str
_FORK: Any = multiprocessing.get_context("fork")


class _Ranks(distributed_test.TestDistBackend, distributed_test.DistributedTest._DistTestBase):  # type: ignore[misc]
    """One rank's part in a test."""

    _num_barriers = 0

    @property
    def world_size(self) -> int:
        return WORLD_SIZE

    def _barrier(self, *_args: Any, **_options: Any) -> None:
        """As PyTorch's, which counts files named after processes, meet in no group."""
        store = dist.PrefixStore("barriers", dist.distributed_c10d._get_default_store())
        self._num_barriers += 1
        store.set(f"{self._num_barriers} {self.rank}", "")
        store.wait([f"{self._num_barriers} {rank}" for rank in range(WORLD_SIZE)])

    def setUp(self) -> None:
        """Nothing: each test has a folder of its own."""

    def tearDown(self) -> None:
        """Likewise."""


def test_names() -> list[str]:
    """All of them, in order."""
    return sorted(
        name for name in dir(_Ranks) if name.startswith("test_") and callable(getattr(_Ranks, name))
    )


def _run_rank(name: str, rank: int, file_name: str) -> None:
    case = _Ranks(name)
    case.rank = rank
    case.file_name = file_name
    dist.init_process_group(
        "gloo", init_method=f"file://{file_name}", world_size=WORLD_SIZE, rank=rank
    )
    case._barrier()
    getattr(case, name)()
    case._barrier()
    dist.destroy_process_group()


def _outcome_of(program: Callable[..., None], *arguments: Any) -> _Outcome:
    """What became of one rank, or of all."""
    try:
        program(*arguments)
    except polyrank.RanksFailedError as failures:
        return _told(failures.exceptions[0])
    except BaseException as error:  # noqa: BLE001 - the outcome tells
        return _told(error)
    return "passed"


def _told(error: BaseException) -> _Outcome:
    if isinstance(error, unittest.SkipTest):
        return "skipped"
    if isinstance(error, SystemExit):
        return "skipped" if error.code in _SKIPS else f"failed: exit {error.code}"
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"


def _worst(outcomes: list[_Outcome]) -> _Outcome:
    """One rank's, if not all passed: a failure rather than what is skipped."""
    return max(outcomes, key=lambda outcome: (outcome != "passed", outcome != "skipped"))


def _in_world(world: str, name: str, file_name: str) -> _Outcome:
    def program() -> _Outcome:
        own = polyrank.current_world()
        assert own is not None
        assert isinstance(own.rank, int)
        outcome = _outcome_of(_run_rank, name, own.rank, file_name)
        if outcome.startswith("failed"):  # the others need not wait for it
            raise RuntimeError(outcome)
        return outcome

    results: list[_Outcome] = []
    outcome = _outcome_of(
        lambda: results.extend(polyrank.run_ranks(program, WORLD_SIZE, world=world))
    )
    return (
        outcome.replace("failed: RuntimeError: failed: ", "failed: ")
        if not results
        else _worst(results)
    )


def _started(program: Callable[..., _Outcome], *arguments: Any) -> tuple[Any, Any]:
    """A process in which it runs, and where the outcome comes from."""
    outcomes = _FORK.Queue()

    def run() -> None:
        outcomes.put(program(*arguments))
        outcomes.close()
        outcomes.join_thread()
        os._exit(0)

    process = _FORK.Process(target=run)
    process.start()
    return process, outcomes


def _outcomes_of(started: list[tuple[Any, Any]]) -> _Outcome:
    try:
        return _worst([outcomes.get(timeout=SECONDS) for _, outcomes in started])
    except queue.Empty:
        return f"failed: no answer in {SECONDS:.0f} s"
    finally:
        for process, _ in started:
            process.terminate()
            process.join()


def run_test(world: str, name: str) -> _Outcome:
    """Run it in a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=_FOLDER.name))
    for part in ("barrier", "test_dir", "init_dir"):
        (folder / part).mkdir()
    os.environ["TEMP_DIR"] = str(folder)
    distributed_test.Barrier.init()
    file_name = str(folder / "store")
    if world == "gloo":
        return _outcomes_of(
            [_started(_outcome_of, _run_rank, name, rank, file_name) for rank in range(WORLD_SIZE)]
        )
    return _outcomes_of([_started(_in_world, world, name, file_name)])


def main() -> None:
    """Run those that the command line names."""
    world, *names = sys.argv[1:]
    for name in names or test_names():
        print(name, run_test(world, name), flush=True)


if __name__ == "__main__":
    main()
