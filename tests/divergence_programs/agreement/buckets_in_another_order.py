"""Gradients go into one bucket in the order in which each rank finds them large, and are taken out so."""
# Only for ranks on their own: the order is each rank's.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rank, size = dist.get_rank(), dist.get_world_size()
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    order = list(model.parameters())
    if not RIGHT:
        order.sort(key=lambda parameter: float(parameter.grad.abs().max()))
    bucket = torch.cat([parameter.grad.flatten() for parameter in order])
    dist.all_reduce(bucket)
    bucket /= size
    for parameter, averaged in zip(order, bucket.chunk(len(order)), strict=True):
        parameter.grad.copy_(averaged.view_as(parameter))  # fault: aten::copy_
    optimizer.step()
dist.destroy_process_group()
