"""Programs for clusters, as one rank of them."""

from __future__ import annotations

from collections.abc import Iterator

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

MANY = 1_048_576


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    polyrank.install()
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
    polyrank.uninstall()


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
