"""Programs for clusters, as one rank of them."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._functional_collectives import permute_tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

MANY = 1_048_576


pytestmark = pytest.mark.usefixtures("installed")


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 256)
        self.down = nn.Linear(256, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.up(x).relu())


@pytest.mark.parametrize("rank", [0, MANY - 1])
def test_a_step_of_tensor_parallelism_and_fsdp2_on_a_million_ranks(rank: int) -> None:
    dist.init_process_group("fake", rank=rank, world_size=MANY)
    mesh = init_device_mesh("cpu", (MANY // 8, 8), mesh_dim_names=("dp", "tp"))
    with FakeTensorMode():
        model = nn.Sequential(_Layer(), _Layer())
        for layer in model:
            plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
            parallelize_module(layer, mesh["tp"], plan)
            fully_shard(layer, mesh=mesh["dp"])
        fully_shard(model, mesh=mesh["dp"])
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.ones(2, 64)).sum().backward()
        optimizer.step()
        weight = next(model.parameters())
        # 32 rows of 256 are this tp rank's; the first 32 of 131,072 dp ranks hold one each.
        assert weight.to_local().shape[0] == (1 if rank // 8 < 32 else 0)
        assert weight.grad is not None


@pytest.mark.parametrize("rank", range(3))
def test_a_pipelines_shapes_are_exchanged(rank: int) -> None:
    """Each stage runs alone: what the others send is like what it sends, or was said."""
    dist.init_process_group("fake", rank=rank, world_size=3)
    world = polyrank.fake.current_fake_world()
    assert world is not None
    x = torch.ones(4, 8)
    stage = PipelineStage(nn.Linear(8, 8), rank, 3, torch.device("cpu"), x[:2], output_args=x[:2])
    schedule = ScheduleGPipe(stage, n_microbatches=2)
    world.expect(torch.ones(1, dtype=torch.int32))  # all stages vote for the shapes they were given
    outputs = schedule.step(x) if rank == 0 else schedule.step()
    assert (outputs is None) == (rank < 2)
    if outputs is not None:
        assert outputs.shape == (4, 8)


def test_dtensor_gives_a_rank_its_own_shard() -> None:
    whole = torch.arange(24.0).reshape(8, 3)
    with polyrank.fake_world(8, rank=3):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        shard = distribute_tensor(whole, mesh["tp"], [Shard(0)])
        assert shard.to_local().tolist() == whole[6:8].tolist()
        uneven = distribute_tensor(whole[:7], mesh["tp"], [Shard(0)], src_data_rank=2)
        assert uneven.to_local().tolist() == whole[6:7].tolist()
    with polyrank.fake_world(8, rank=3, values="pytorch"):
        mesh = init_device_mesh("cpu", (8,))
        shard = distribute_tensor(whole, mesh, [Shard(0)])
        assert shard.to_local().shape == (1, 3)


def test_a_permutation_gives_what_the_rank_sends() -> None:
    with polyrank.fake_world(4, rank=1):
        x = torch.tensor([5.0, 6.0])
        moved = permute_tensor(x, [1, 2, 3, 0], dist.group.WORLD)
        assert moved.tolist() == [5, 6]
