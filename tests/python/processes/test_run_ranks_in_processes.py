"""Functions on ranks that are processes forked off the caller's."""

from __future__ import annotations

import atexit
import itertools
import logging
import logging.handlers
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import psutil
import pytest
import torch
import torch.distributed as dist
from polyrank import RanksFailedError
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor


def run(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    return polyrank.run_ranks(function, world_size, *args, world="processes")


def failed(function: Callable[..., Any], world_size: int) -> RanksFailedError:
    with pytest.raises(RanksFailedError) as caught:
        run(function, world_size)
    return caught.value


def test_closures_run_and_results_come_back_by_rank() -> None:
    here = os.getpid()
    scale = torch.tensor([2.0, 3.0])
    lock = __import__("threading").Lock()  # can't be pickled

    def program(more: float) -> tuple[int, torch.Tensor, bool]:
        with lock:
            x = scale * (dist.get_rank() + more)
        dist.all_reduce(x)
        return dist.get_rank(), x, os.getpid() == here

    results = run(program, 3, 1.0)
    assert [rank for rank, _, _ in results] == [0, 1, 2]
    for _, x, is_here in results:
        assert x.tolist() == [12.0, 18.0]
        assert not is_here


def test_nothing_of_a_rank_is_left_here() -> None:
    kept: list[int] = []
    before = os.environ.get("RANK")

    def program() -> None:
        kept.append(1)
        os.environ["RANK"] = "77"
        torch.manual_seed(1)

    state = torch.get_rng_state()
    run(program, 2)
    assert kept == [] and os.environ.get("RANK") == before and not dist.is_initialized()
    assert torch.equal(state, torch.get_rng_state())


def test_random_streams_differ_between_ranks_and_repeat() -> None:
    def draw() -> float:
        return random.random()

    random.seed(3)
    first = run(draw, 2)
    random.seed(3)
    assert run(draw, 2) == first
    assert first[0] != first[1]


def test_what_ranks_raise_comes_with_its_traceback_the_first_first() -> None:
    def program() -> None:
        if dist.get_rank() == 2:
            raise LookupError("no shard")
        dist.barrier()

    error = failed(program, 3)
    first = error.exceptions[0]
    assert type(first) is LookupError and first.__notes__ == ["raised on rank 2"]
    assert "in program" in str(first.__cause__) and __file__ in str(first.__cause__)
    assert "first rank 2: LookupError: no shard" in str(error)


class TwoArgumentsError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_exceptions_that_pickle_does_not_take_are_told_by_their_text() -> None:
    def program() -> None:
        raise TwoArgumentsError(1, 2)

    (error,) = failed(program, 1).exceptions
    assert str(error) == "TwoArgumentsError: 1 and 2"
    assert error.__notes__ == ["raised on rank 0, whose exception can't be pickled"]


def test_results_that_pickle_does_not_take_are_refused() -> None:
    (error,) = failed(lambda: lambda: 1, 1).exceptions
    assert isinstance(error, polyrank.UsageError)
    assert "rank 0 returned a function that can't be sent back" in str(error)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"signal 9 \(SIGKILL\)"),
        (lambda: os._exit(0), r"os\._exit\(0\)"),
    ],
)
def test_a_rank_that_dies_is_named(end: Callable[[], None], says: str) -> None:
    def program() -> None:
        if dist.get_rank() == 1:
            end()

    error = failed(program, 2)
    with pytest.raises(RuntimeError, match=says):
        raise error.exceptions[0]
    assert error.exceptions[0].__notes__ == ["raised on rank 1"]


# In a process of its own: tests before may have had gradients of a GPU, after which PyTorch forbids forks.
COMPUTED_BEFORE = """
import polyrank, torch

torch.set_num_threads(2)
x = torch.randn(500, 500, requires_grad=True)
(x @ x).relu().sum().backward()

def program():
    torch.set_num_threads(2)
    y = torch.ones(500, 500, requires_grad=True)
    (y @ y).relu().sum().backward()
    return float(y.grad[0, 0])

print(polyrank.run_ranks(program, 2, world="processes"))
"""


def test_the_caller_may_have_computed_on_several_cores() -> None:
    command = [sys.executable, "-c", COMPUTED_BEFORE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "[1000.0, 1000.0]\n", done.stderr


def test_what_ranks_print_comes_out_here(capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda: print("from", dist.get_rank()), 2)
    assert sorted(capsys.readouterr().out.splitlines()) == ["from 0", "from 1"]


def test_options_of_threads_are_refused() -> None:
    with pytest.raises(polyrank.UsageError, match="world='threads'"):
        polyrank.run_ranks(print, 2, world="processes", own_modules=["x"])
    with pytest.raises(polyrank.UsageError, match="schedule='random'"):
        polyrank.run_ranks(print, 2, world="processes", seed=3)
    with pytest.raises(polyrank.UsageError, match="schedule='fair'"):
        polyrank.run_ranks(print, 2, world="processes", schedule="fair")
    with pytest.raises(polyrank.UsageError, match="world='thread'"):
        polyrank.run_ranks(print, 2, world="thread")
    with pytest.raises(polyrank.UsageError, match="world_size=0"):
        polyrank.run_ranks(print, 0, world="processes")


def _launches_of_own_trace() -> int:
    with polyrank.trace() as own:
        dist.all_reduce(torch.ones(2))
    return len(own)


def test_a_trace_is_opened_by_the_ranks() -> None:
    with polyrank.trace(), pytest.raises(polyrank.UsageError, match="in the function"):
        polyrank.run_ranks(_launches_of_own_trace, 2, world="processes")
    assert polyrank.run_ranks(_launches_of_own_trace, 2, world="processes") == [1, 1]


def test_errors_of_polyrank_can_be_sent() -> None:
    for kind in (polyrank.DeadlockError, polyrank.CollectiveMismatchError):
        assert type(pickle.loads(pickle.dumps(kind("x")))) is kind


def test_what_runs_at_exit_here_does_not_run_in_ranks(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def program() -> bool:
        atexit.register(lambda: (marks / f"of {dist.get_rank()}").touch())
        logging.getLogger("its own").addHandler(
            logging.handlers.MemoryHandler(
                10, target=logging.FileHandler(marks / f"log of {dist.get_rank()}")
            )
        )
        logging.getLogger("its own").warning("written at its end")
        child = multiprocessing.get_context("fork").Process(
            target=time.sleep, args=(100,), daemon=True
        )
        child.start()
        (marks / f"child of {dist.get_rank()}").write_text(str(child.pid))
        return True

    def leave_a_mark() -> None:
        (marks / "of the caller").touch()

    atexit.register(leave_a_mark)
    with tempfile.TemporaryDirectory() as folder:
        child = multiprocessing.get_context("fork").Process(
            target=time.sleep, args=(100,), daemon=True
        )
        child.start()
        try:
            assert run(program, 2) == [True, True]
            assert Path(folder).is_dir()
            assert child.is_alive()
        finally:
            child.kill()
            child.join()
            atexit.unregister(leave_a_mark)
    assert sorted(mark.name for mark in marks.iterdir()) == [
        "child of 0",
        "child of 1",
        "log of 0",
        "log of 1",
        "of 0",
        "of 1",
    ]
    for rank in range(2):
        assert (marks / f"log of {rank}").read_text() == "written at its end\n"
        assert not psutil.pid_exists(int((marks / f"child of {rank}").read_text()))


def test_nothing_that_was_worked_out_for_an_earlier_mesh_is_used() -> None:
    """Caches of DTensor's are inherited, with what is right for rank 0, or for no rank."""

    def program() -> list[torch.Tensor]:
        mesh = init_device_mesh("cpu", (2, 2))
        values = torch.arange(70.0).view(10, 7)
        kept = []
        for source, target in itertools.product(PLACEMENTS, PLACEMENTS):
            moved = distribute_tensor(values, mesh, source).redistribute(mesh, target)
            kept.append(moved.to_local())
            assert moved.full_tensor().equal(values)
        return kept

    expected = run(program, 4)
    polyrank.install()
    try:
        with polyrank.lockstep(4):
            program()
        assert all(
            len(mine) == len(before) and all(map(torch.equal, mine, before))
            for mine, before in zip(run(program, 4), expected, strict=True)
        )
    finally:
        polyrank.uninstall()


PLACEMENTS = list(itertools.product((Replicate(), Shard(0), Shard(1)), repeat=2))
