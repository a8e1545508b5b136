"""`@pytest.mark.ranks(8)`: tests in lockstep, run by the plugin as its users run it."""

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
    bad = ("", "0", "-3", "'many'", "True", "2, 3", "ranks=2", "4, world_size=4")
    marked = [f"@pytest.mark.ranks({a})\ndef test_bad{i}(): pass\n" for i, a in enumerate(bad)]
    output = run_tests(tmp_path, "\n".join([*marked, "def test_good(): pass"]))
    assert f"1 passed, {len(bad)} errors" in output, output
    for arguments in bad:
        assert f"@pytest.mark.ranks({arguments}): it takes one world size" in output
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
