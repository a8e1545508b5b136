"""`@pytest.mark.ranks(8)`: tests on ranks, run by the plugin as its users run it."""

import subprocess
import sys
from pathlib import Path

import pytest

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


def run_tests(folder: Path, tests: str, *arguments: str, stdin: str | None = None) -> str:
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
        input=stdin,
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


def test_each_kind_of_failure_is_shown_once_with_its_ranks_the_cause_last(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
import time

@pytest.mark.ranks(6, world="processes")
def test_it():
    rank = dist.get_rank()
    dist.barrier()
    if rank == 5:
        raise ValueError("five")
    time.sleep(0.5)
    if rank in (1, 2, 3):
        assert rank == 0, f"I am {rank // 2}"
""",
    )
    assert "1 failed" in output, output
    assert output.count("ValueError: five") == 2  # and the line of the summary
    assert output.count('raise ValueError("five")') == 1
    assert output.count("assert rank == 0") == 1
    others, cause = output.index("assert rank == 0"), output.index('raise ValueError("five")')
    assert others < cause
    assert "^ raised on ranks 1-3; above is rank" in output
    assert "I am 0" in output
    assert "I am 1" in output
    assert "^ raised on rank 5 (the first to fail)" in output
    assert "6 ranks, world processes" in output
    assert "4 of 6 failed; no error of their own: ranks 0,4" in output
    assert "FAILED test_it.py::test_it - ValueError: five" in output


def test_what_all_ranks_hear_of_one_collective_is_one_failure_that_starts_in_the_test(
    tmp_path: Path,
) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.ranks(4, world="processes")
def test_it():
    dist.all_reduce(torch.ones(2 + (dist.get_rank() == 1)))
""",
    )
    failure = output.partition("short test summary")[0]  # whose lines are whole where CI is set
    assert failure.count("ranks disagree.") == 1, output
    assert "^ raised on ranks 0-3 (the first to fail)" in output
    first_frame = output.partition("Traceback (most recent call last):")[2].splitlines()[1]
    assert "test_it.py" in first_frame


def test_a_failure_where_ranks_part_is_told_once(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.ranks(4)
def test_it():
    assert (torch.ones(1) * dist.get_rank()).item() == 1
""",
    )
    assert "1 failed" in output, output
    assert "DivergenceError: item()" in output
    assert "the program did not hear of it" not in output


def test_ranks_that_another_one_ended_are_no_failures(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.ranks(4, world="threads")
def test_it():
    if dist.get_rank() == 2:
        raise ValueError("two")
    dist.barrier()
""",
    )
    assert "^ raised on rank 2 (the first to fail)" in output, output
    assert "1 of 4 failed; no error of their own: ranks 0-1,3" in output
    assert "raised on ranks 0-1,3" not in output


def test_what_pytest_raises_on_ranks_is_what_it_means(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.parametrize("world", [
    pytest.param(name, marks=pytest.mark.ranks(2, world=name)) for name in ("threads", "processes")])
class TestOutcomes:
    def test_skip(self, world):
        pytest.skip("not today")

    def test_xfail(self, world):
        pytest.xfail("not yet")

    def test_fail(self, world):
        pytest.fail("said so")

@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
@pytest.mark.ranks(2, world="threads")
def test_expected():
    1 / 0
""",
    )
    assert "2 failed, 2 skipped, 3 xfailed" in output, output
    assert "not today" in output
    assert "AssertionError: said so" in output


def test_fixtures(tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        """
@pytest.mark.ranks(4)
def test_lockstep(world_size, collectives):
    x = torch.ones(2)
    dist.all_reduce(x)
    assert world_size == 4
    (launch,) = collectives.launches
    assert (launch["kind"], launch["ranks"]) == ("all_reduce", "0-3")

@pytest.mark.ranks(3, world="threads")
def test_threads(world_size, collectives):
    dist.all_reduce(torch.ones(2))
    dist.barrier()
    assert len(collectives) == 2 * world_size

@pytest.mark.ranks(1000, world="fake")
def test_fake(world_size):
    assert world_size == dist.get_world_size() == 1000

def test_plain(world_size):
    pass
""",
    )
    assert "3 passed, 1 error" in output, output
    assert "world_size is of tests with @pytest.mark.ranks" in output


TWO_TESTS = """
@pytest.mark.ranks(2, world="threads")
def test_one():
    own = dist.get_rank() + 40
    assert own == 40

@pytest.mark.ranks(2)
def test_other():
    dist.barrier()
"""


def test_xdist_and_k(tmp_path: Path) -> None:
    output = run_tests(tmp_path, TWO_TESTS, "-n", "2")
    assert "1 failed, 1 passed" in output, output
    assert "^ raised on rank 1 (the first to fail)" in output
    assert "1 passed, 1 deselected" in run_tests(tmp_path, TWO_TESTS, "-k", "other")


def test_the_debugger_stands_where_the_first_rank_failed(tmp_path: Path) -> None:
    output = run_tests(tmp_path, TWO_TESTS, "--pdb", "-k", "one", stdin="p own\nq\n")
    assert "assert own == 40" in output
    assert "(Pdb) 41" in output


def test_breakpoint_in_lockstep(tmp_path: Path) -> None:
    tests = """
@pytest.mark.ranks(3)
def test_it():
    x = torch.ones(1) * dist.get_rank()
    breakpoint()
    assert x.sum().shape == ()
"""
    output = run_tests(tmp_path, tests, stdin="p len(x.cohorts())\nc\n")
    assert "(Pdb) 3" in output, output
    assert "1 passed" in output


@pytest.mark.parametrize("world", ["lockstep", "threads", "processes", "fake"])
def test_an_async_test_fails(world: str, tmp_path: Path) -> None:
    output = run_tests(
        tmp_path,
        f"""
@pytest.mark.ranks(2, world="{world}")
async def test_it():
    pass
""",
    )
    assert "1 failed" in output, output
    assert "a test on ranks is no async function" in output


UNITTEST = """
import unittest
@pytest.mark.ranks(2, world="{world}")
class TestIt(unittest.TestCase):
    def test_it(self):
        self.assertEqual(dist.get_world_size(), 2)
"""


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_test_case_of_unittest_is_refused_where_ranks_are_called(
    world: str, tmp_path: Path
) -> None:
    output = run_tests(tmp_path, UNITTEST.format(world=world))
    assert "unittest calls the methods of a TestCase itself" in output, output
    assert "1 error" in output


@pytest.mark.parametrize("world", ["lockstep", "fake"])
def test_a_test_case_of_unittest_runs_where_its_block_is_on_ranks(
    world: str, tmp_path: Path
) -> None:
    assert "1 passed" in run_tests(tmp_path, UNITTEST.format(world=world))
