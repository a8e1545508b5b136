"""PyTorch's own classes for such tests run on polyrank."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed._tensor import common_dtensor
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Programs(DTensorTestBase):
    """A test case as PyTorch writes them for processes."""

    __test__ = False  # here it is only what the test class is made of

    @property
    def world_size(self) -> int:
        return 4

    @with_comms
    def test_redistribute(self) -> None:
        mesh = self.build_device_mesh()
        x = torch.arange(30.0).reshape(6, 5)
        sharded = distribute_tensor(x, mesh, [Shard(0)])
        assert isinstance(sharded.to_local(), polyrank.LocalTensor)
        self.assertEqual(sharded.redistribute(mesh, [Shard(1)]).full_tensor(), x)

    @with_comms
    def test_rank(self) -> None:
        mesh = self.build_device_mesh()
        local = torch.ones(2) * self.rank
        whole = DTensor.from_local(local, mesh, [Partial()]).redistribute(mesh, [Replicate()])
        self.assertEqual(whole.to_local(), torch.full((2,), 6.0))

    @with_comms
    def test_collective_on_a_group_of_some_ranks(self) -> None:
        x = torch.ones(2)
        dist.all_reduce(x, group=dist.new_group([0, 1]))
        self.assertEqual(x, torch.full((2,), 2.0))


@pytest.fixture(autouse=True)
def _installed(installed: None) -> Iterator[None]:
    yield


@pytest.mark.parametrize("name", [name for name in vars(Programs) if name.startswith("test_")])
def test_a_local_tensor_test_class_passes(name: str) -> None:
    made: Any = common_dtensor.create_local_tensor_test_class(Programs)
    result = unittest.TestResult()
    made(name).run(result)
    assert result.testsRun == 1
    assert not result.errors, result.errors[0][1]
    assert not result.failures, result.failures[0][1]
    assert not result.skipped, result.skipped[0][1]
