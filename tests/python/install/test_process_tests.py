"""PyTorch's test classes that start processes, run by `pytest --polyrank-ranks` as their authors write them."""

import subprocess
import sys
from pathlib import Path

import polyrank
import pytest
from polyrank.install.process_tests import run_process_tests_in

TESTS = """
import os
import unittest

import torch
import torch.distributed as dist
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.testing._internal.common_distributed import MultiProcessTestCase, requires_gloo
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class OnDTensor(DTensorTestBase):
    @property
    def world_size(self):
        return 4

    @property
    def device_type(self):
        return "cpu"

    @with_comms
    def test_redistribute(self):
        mesh = self.build_device_mesh()
        x = torch.arange(10.0)
        sharded = distribute_tensor(x, mesh, [Shard(0)])
        self.assertEqual(sharded.to_local().shape[0], (3, 3, 3, 1)[self.rank])
        self.assertEqual(sharded.redistribute(mesh, [Replicate()]).to_local(), x)

    @with_comms
    def test_that_fails_on_two(self):
        dist.barrier()
        self.assertEqual(self.rank // 2, 0)

    @unittest.skip("never")
    def test_skipped_before(self):
        raise AssertionError


class Plain(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def _init(self):
        dist.init_process_group(
            "gloo", init_method=f"file://{self.file_name}", rank=self.rank, world_size=2)

    @requires_gloo()
    def test_sums(self):
        self.assertFalse(dist.is_initialized() and dist.get_world_size() != 2)
        self._init()
        x = torch.full((2,), float(self.rank + 1))
        dist.all_reduce(x)
        self.assertEqual(x, torch.full((2,), 3.0))
        if self.rank == 0:
            dist.send(x, 1)
        else:
            dist.recv(x, 0)

    def test_skips_itself(self):
        raise unittest.SkipTest("not here")

    def test_branches_and_draws_alike(self):
        self._init()
        draws = [torch.zeros(3), torch.zeros(3)]
        dist.all_gather(draws, torch.rand(3))
        self.assertEqual(draws[0], draws[1])


if __name__ == "__main__":
    run_tests()
"""


def output_of_pytest(folder: Path, world: str, *tests: str) -> str:
    """What pytest says of tests in the folder, on ranks of that world."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:warnings"]
    done = subprocess.run(
        [*command, "--polyrank-ranks", world, *tests],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_they_pass_fail_and_skip_as_in_their_own_processes(tmp_path: Path, world: str) -> None:
    (tmp_path / "test_theirs.py").write_text(TESTS)
    output = output_of_pytest(tmp_path, world, "test_theirs.py")
    assert "1 failed, 3 passed, 2 skipped" in output, output
    assert "FAILED test_theirs.py::OnDTensor::test_that_fails_on_two" in output
    assert "Scalars are not equal" in output
    # No process was started for it: one would say so.
    assert "Process 0" not in output


DISTRIBUTED_TEST = """
import os
import tempfile

folder = tempfile.TemporaryDirectory()
os.environ.update(BACKEND="gloo", WORLD_SIZE="4", TEMP_DIR=folder.name, MASTER_ADDR="127.0.0.1")

from torch.testing._internal.distributed.distributed_test import DistributedTest, TestDistBackend


class TestOnRanks(TestDistBackend, DistributedTest._DistTestBase):
    def setUp(self):
        super().setUp()
        self._spawn_processes()
"""


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_distributed_test_meets_at_its_own_barrier(tmp_path: Path, world: str) -> None:
    (tmp_path / "test_theirs.py").write_text(DISTRIBUTED_TEST)
    names = ("barrier", "barrier_full_group", "gather_object", "get_future", "send_recv_any_source")
    output = output_of_pytest(
        tmp_path, world, *(f"test_theirs.py::TestOnRanks::test_{n}" for n in names)
    )
    assert f"{len(names)} passed" in output, output


def test_other_worlds_are_refused() -> None:
    with pytest.raises(polyrank.UsageError, match="run in threads or processes, not 'lockstep'"):
        run_process_tests_in("lockstep")
