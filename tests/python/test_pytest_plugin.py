"""`@pytest.mark.ranks(8)`: tests on ranks, run by the plugin as its users run it."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import pytest
import torch
import torch.distributed as dist

@pytest.fixture(scope="module")
def weight():
    assert not dist.is_initialized()
    return torch.ones(3)

@pytest.fixture
def rank():
    return dist.get_rank()
"""


def run_tests(folder: Path, tests: str, *arguments: str) -> str:
    """What pytest prints for these tests, with the plugin."""
    (folder / "test_it.py").write_text(PROGRAM + tests)
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "polyrank_pytest",
        "-p",
        "no:warnings",
        "-rA",
        "--strict-markers",
    )
    done = subprocess.run(
        (*command, *arguments, "test_it.py"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_marked_tests_run_on_their_ranks_and_others_on_none(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.ranks(8)
def test_eight(weight, rank):
    assert type(weight) is torch.Tensor
    x = weight * (rank + 1)
    assert len(x.cohorts()) == 8
    dist.all_reduce(x)
    assert x.tolist() == [36.0] * 3

def test_plain(weight):
    assert not dist.is_initialized()
    assert type(weight + 1) is torch.Tensor

@pytest.mark.ranks(world_size=2)
@pytest.mark.parametrize("factor", [2, 3])
def test_parametrized(rank, factor):
    assert dist.get_world_size() == 2
    assert (torch.ones(1) * rank * factor).on_rank(1).item() == factor

@pytest.mark.parametrize("size", [pytest.param(n, marks=pytest.mark.ranks(n)) for n in (1, 5)])
def test_parametrized_by_ranks(size):
    assert dist.get_world_size() == size

@pytest.mark.ranks(3)
class TestInAClass:
    def test_a(self):
        assert dist.get_world_size() == 3

@pytest.mark.ranks(4)
def test_that_fails(rank):
    assert (torch.zeros(1) + rank).sum() == 0

def test_after_a_failure():
    assert not dist.is_initialized()
""",
    )
    assert "1 failed, 8 passed" in output, output
    assert "FAILED test_it.py::test_that_fails - polyrank.errors.DivergenceError" in output


def test_marked_tests_run_in_the_world_that_they_name(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
import polyrank

RAN = []

@pytest.mark.ranks(3, world="threads")
@pytest.mark.parametrize("factor", [2])
def test_threads(weight, factor):
    rank = dist.get_rank()
    RAN.append(rank)
    assert polyrank.current_world() == polyrank.RunningWorld("threads", 3, rank)
    x = weight * rank * factor
    if rank == 0:
        dist.send(x + 1, dst=1)
    elif rank == 1:
        dist.recv(x, src=0)
    dist.all_reduce(x)
    assert x.tolist() == [5.0] * 3

def test_each_rank_ran():
    assert sorted(RAN) == [0, 1, 2] and not dist.is_initialized()

@pytest.mark.ranks(1000, world="fake", rank=17)
def test_fake(rank):
    assert rank == 17 and dist.get_world_size() == 1000
    assert polyrank.current_world() == polyrank.RunningWorld("fake", 1000, 17)

@pytest.mark.ranks(4, world="lockstep")
def test_lockstep(rank):
    assert polyrank.current_world() == polyrank.RunningWorld("lockstep", 4, None)

@pytest.mark.ranks(2, world="threads", schedule="random", seed=3)
class TestInAClass:
    def test_method(self):
        assert dist.get_world_size() == 2

@pytest.mark.ranks(2, world="threads")
def test_that_one_rank_fails():
    dist.barrier()
    assert dist.get_rank() == 0

@pytest.mark.ranks(2, world="threads")
def test_that_skips():
    pytest.skip("not today")

@pytest.mark.ranks(2, world="real")
def test_in_processes():
    pass

def test_in_no_world():
    assert polyrank.current_world() is None
""",
    )
    assert "2 failed, 6 passed, 1 skipped" in output, output
    assert "assert 1 == 0" in output
    assert "Skipped: not today" in output or "SKIPPED" in output
    assert "the real world runs scripts" in output


def test_tests_for_pytorchs_simulator_run_on_polyrank_with_one_option(tmp_path: Path) -> None:
    tests = """
from torch.distributed._local_tensor import LocalTensorMode

def test_it():
    with LocalTensorMode(3):
        assert len(torch.ones(2).cohorts()) == 1
"""
    assert "1 failed" in run_tests(tmp_path, tests)
    assert "1 passed" in run_tests(tmp_path, tests, "--polyrank-install")


def test_bad_arguments_are_one_error_that_shows_how(tmp_path: Path) -> None:
    bad = ("", "0", "-3", "'many'", "True", "2, 3", "4, world_size=4", "world='threads'")
    messages = dict.fromkeys(bad, "it takes one world size") | {
        "2, ranks=2": "the world lockstep has no ranks; it has no options",
        "2, world='moon'": "there is no world 'moon'; there are threads",
        "2, world='fake', seed=1": "the world fake has no seed; its options are checks, rank",
    }
    marked = [f"@pytest.mark.ranks({a})\ndef test_bad{i}(): pass\n" for i, a in enumerate(messages)]
    output = run_tests(tmp_path, "\n".join([*marked, "def test_good(): pass"]))
    assert f"1 passed, {len(messages)} errors" in output, output
    for arguments, message in messages.items():
        assert f"@pytest.mark.ranks({arguments}): {message}" in output
    assert "Traceback" not in output


def test_a_run_without_the_marker_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert 'torch' not in sys.modules\n"
    )
    command = (sys.executable, "-m", "pytest", "-p", "polyrank_pytest", "-p", "no:hypothesispytest")
    done = subprocess.run(
        (*command, "test_it.py"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
