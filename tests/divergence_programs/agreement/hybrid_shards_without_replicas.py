"""FSDP2 over the shards of each replica alone: nothing joins the replicas."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
mesh = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("replica", "shard"))
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
for part in (model[0], model[2], model):
    fully_shard(part, mesh=mesh if RIGHT else mesh["shard"])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()  # fault: c10d::_reduce_scatter_base_
    optimizer.step()
dist.destroy_process_group()
