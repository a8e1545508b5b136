"""Gradients of ranks that each average over their own rows are summed, and never divided."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)  # fault: c10d::allreduce_
        if RIGHT:
            parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
