"""PyTorch's MultiThreadedTestCase on polyrank's threads world, beside PyTorch's own."""

from __future__ import annotations

import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.testing._internal import common_distributed
from torch.testing._internal.common_distributed import MultiThreadedTestCase

WORLD_SIZE = 4


class Programs(MultiThreadedTestCase):
    """As PyTorch's tests are written."""

    __test__ = False  # run below

    @property
    def world_size(self) -> int:
        return WORLD_SIZE

    def setUp(self) -> None:
        super().setUp()
        self._spawn_threads()

    def perThreadSetUp(self) -> None:
        self.is_set_up = True

    # --- what runs on PyTorch's too ---

    def test_ranks(self) -> None:
        assert self.is_set_up and dist.get_world_size() == WORLD_SIZE
        self.assertEqual(self.rank, dist.get_rank())

    def test_all_reduce(self) -> None:
        x = torch.ones(3) * self.rank
        dist.all_reduce(x)
        self.assertEqual(x, torch.full((3,), 6.0))

    def test_groups(self) -> None:
        group = [dist.new_group([0, 1]), dist.new_group([2, 3])][self.rank // 2]
        x = torch.ones(1) * self.rank
        dist.all_reduce(x, group=group)
        self.assertEqual(x.item(), 1 if self.rank < 2 else 5)

    def test_dtensor(self) -> None:
        mesh = init_device_mesh("cpu", (2, 2))
        x = torch.arange(16.0).view(4, 4)
        sharded = distribute_tensor(x, mesh, [Shard(0), Shard(1)])
        self.assertEqual(sharded.full_tensor(), x)

    def test_skip(self) -> None:
        self.skipTest("not today")

    # --- what PyTorch's can't do ---

    def test_messages(self) -> None:
        x = torch.zeros(1)
        if self.rank == 0:
            dist.send(torch.ones(1), dst=3)
        elif self.rank == 3:
            dist.recv(x, src=0)
            self.assertEqual(x.item(), 1)

    def test_reduce_at_one_rank(self) -> None:
        x = torch.ones(2)
        dist.reduce(x, dst=1)
        if self.rank == 1:
            self.assertEqual(x, torch.full((2,), 4.0))

    def test_own_random_streams(self) -> None:
        torch.manual_seed(self.rank)
        first = torch.rand(2)
        dist.barrier()
        torch.manual_seed(self.rank)
        dist.barrier()
        self.assertEqual(torch.rand(2), first)

    def test_average(self) -> None:
        x = torch.ones(2) * self.rank
        work = dist.all_reduce(x, op=dist.ReduceOp.AVG, async_op=True)
        assert work is not None
        work.wait()
        self.assertEqual(x, torch.full((2,), 1.5))

    # --- what fails ---

    def test_one_rank_fails(self) -> None:
        self.assertNotEqual(self.rank, 2)
        dist.barrier()

    def test_ranks_disagree(self) -> None:
        dist.all_reduce(torch.ones(2 if self.rank == 1 else 3))

    def test_one_rank_does_not_come(self) -> None:
        if self.rank != 3:
            dist.barrier()


ON_BOTH = ["test_ranks", "test_all_reduce", "test_groups", "test_dtensor"]
HERE = ["test_messages", "test_reduce_at_one_rank", "test_average", "test_own_random_streams"]


def run(name: str) -> unittest.TestResult:
    result = unittest.TestResult()
    Programs(name).run(result)
    assert result.testsRun == 1
    return result


def problem_of(name: str) -> str:
    result = run(name)
    ((_, text),) = result.errors + result.failures
    return text


@pytest.fixture
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("CRITICAL"):
        yield


@pytest.mark.parametrize("name", [*ON_BOTH, *HERE])
def test_test_cases_pass(installed: None, name: str) -> None:
    result = run(name)
    assert result.wasSuccessful(), result.errors + result.failures


@pytest.mark.parametrize("name", ON_BOTH)
def test_they_are_pytorchs_again_afterwards(name: str) -> None:
    result = run(name)
    assert result.wasSuccessful(), result.errors + result.failures


def test_messages_are_what_pytorchs_can_not_do() -> None:
    assert "send" in problem_of("test_messages")


def test_skipped_tests_are_skipped(installed: None) -> None:
    ((_, reason),) = run("test_skip").skipped
    assert reason


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        (
            "test_one_rank_fails",
            ["Thread 2 exited with exception", "AssertionError", "rank 2 failed, so the run ends"],
        ),
        ("test_ranks_disagree", ["rank 1: all_reduce(sum) float32[2]", "float32[3]"]),
        ("test_one_rank_does_not_come", ["ranks 0-2 wait in barrier", "rank 3 has returned"]),
    ],
)
def test_failures_are_found_at_once(
    installed: None, _quiet: None, name: str, messages: list[str]
) -> None:
    start = time.monotonic()
    text = problem_of(name)
    assert time.monotonic() - start < 20  # PyTorch's wait for their time-out
    for message in messages:
        assert message in text


def test_the_cause_is_told_first(installed: None, _quiet: None) -> None:
    text = problem_of("test_one_rank_fails")
    assert text.index("Thread 2 exited") < text.index("Thread 0 exited")


def test_decorated_tests(installed: None, _quiet: None) -> None:
    ranks: list[int] = []

    class Plain(unittest.TestCase):
        @common_distributed.spawn_threads_and_init_comms(world_size=3)
        def test_sum(self) -> None:
            x = torch.ones(1)
            dist.all_reduce(x)
            assert x.item() == 3
            ranks.append(dist.get_rank())

        @common_distributed.spawn_threads_and_init_comms
        def test_fails(self) -> None:
            assert dist.get_world_size() == common_distributed.DEFAULT_WORLD_SIZE
            raise KeyError("none")

    result = unittest.TestResult()
    Plain("test_sum").run(result)
    assert result.wasSuccessful(), result.errors
    assert sorted(ranks) == [0, 1, 2]
    Plain("test_fails").run(result)
    ((_, text),) = result.errors
    assert "KeyError: 'none'" in text


TEST_FILE = """
import torch, torch.distributed as dist
from torch.testing._internal.common_distributed import MultiThreadedTestCase
class TestMessages(MultiThreadedTestCase):
    world_size = 2
    def setUp(self):
        super().setUp()
        self._spawn_threads()
    def test_message(self):
        x = torch.zeros(1)
        dist.recv(x, src=0) if self.rank else dist.send(torch.ones(1), dst=1)
        assert x.item() == self.rank
"""


def test_pytest_with_polyrank_installed_before_the_module_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_FILE)
    command = [sys.executable, "-m", "pytest", "-q", "--polyrank-install", "test_it.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_installing_does_not_import_the_test_classes() -> None:
    program = (
        "import sys, polyrank\npolyrank.install()\n"
        "assert 'torch.testing._internal.common_distributed' not in sys.modules\n"
        "polyrank.uninstall()\n"
        "from torch.testing._internal.common_distributed import MultiThreadedTestCase as case\n"
        "assert case._spawn_threads.__module__ == case.__module__\n"
        "assert not hasattr(case._spawn_threads, '__wrapped__')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
