"""A parameter that FSDP2 is told to ignore is reduced by nobody."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

RIGHT = "right" in sys.argv


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x):
        return self.layer(x) * self.scale


dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
mesh = init_device_mesh("cpu", (size,))
model = Scaled()
fully_shard(model, mesh=mesh, ignored_params={model.scale})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
inputs = torch.randn(2, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    if RIGHT:
        dist.all_reduce(model.scale.grad)
        model.scale.grad /= size
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
