"""`torch.nn.init.trunc_normal_` where ranks' random streams differ: each draws again as often as it needs."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch_builds import needs_cpu_build

BOUNDS = {"most fit": {"std": 0.02, "a": -0.03, "b": 0.02}, "few fit": {"a": 2.0, "b": 4.0}}


def draw(device: str, seed: int | torch.SymInt, bounds: dict[str, float]) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    weight = nn.Parameter(torch.empty(33, 7, device=device))
    nn.init.trunc_normal_(weight, **bounds)
    return weight.detach(), torch.rand(3, device=device)


@needs_cpu_build
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_rank_draws_as_alone(device: str, bounds: dict[str, float]) -> None:
    with polyrank.virtual_gpu():
        expected = [draw(device, seed, bounds) for seed in range(4)]
        with polyrank.lockstep(4):
            weight, after = draw(device, dist.get_rank(), bounds)
        for rank in range(4):
            assert torch.equal(weight._local_tensors[rank], expected[rank][0])
            assert torch.equal(after._local_tensors[rank], expected[rank][1])  # and goes on so


def test_what_all_ranks_share_stays_shared() -> None:
    with polyrank.lockstep(4):
        weight, _ = draw("cpu", 3, BOUNDS["most fit"])
        assert len(weight.cohorts()) == 1


def draw_shards(device: str, bounds: dict[str, float]) -> list[Any]:
    torch.manual_seed(5 + (dist.get_rank() if device == "cpu" else 0))
    mesh = init_device_mesh(device, (4,))
    weight = nn.Parameter(DTensor.from_local(torch.empty(9, 7, device=device), mesh, [Shard(0)]))
    nn.init.trunc_normal_(weight, **bounds)
    return [weight.to_local().detach(), torch.rand(3, device=device)]


def shards_as_lists(device: str, bounds: dict[str, float]) -> list[Any]:
    return [tensor.tolist() for tensor in draw_shards(device, bounds)]


@needs_cpu_build
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_rank_draws_its_shard_of_a_dtensor(device: str, bounds: dict[str, float]) -> None:
    with polyrank.virtual_gpu(4):
        expected = polyrank.run_ranks(shards_as_lists, 4, device, bounds, world="processes")

        with polyrank.lockstep(4):
            drawn = draw_shards(device, bounds)
        for rank in range(4):
            assert [tensor._local_tensors[rank].tolist() for tensor in drawn] == expected[rank]
