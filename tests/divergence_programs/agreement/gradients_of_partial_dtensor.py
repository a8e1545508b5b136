"""The local part of a DTensor that is a part of a sum is taken for the sum."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
mesh = init_device_mesh("cpu", (size,))
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        gradient = DTensor.from_local(parameter.grad, mesh, [Partial("avg")])
        if RIGHT:
            gradient = gradient.redistribute(mesh, [Replicate()])
        parameter.grad = gradient.to_local()
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
