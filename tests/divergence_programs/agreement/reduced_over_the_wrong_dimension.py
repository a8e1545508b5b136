"""On a mesh of data and tensor parallel ranks, gradients of replicas are reduced over the wrong dimension."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
torch.manual_seed(0)
model = nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(4, 4)
part = mesh.get_local_rank("data")
for _ in range(2):
    loss = model(inputs[part * 2 : part * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    group = mesh.get_group("data" if RIGHT else "tensor")
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, group=group)  # fault: c10d::allreduce_
        parameter.grad /= 2
    optimizer.step()
dist.destroy_process_group()
