"""Ranks have parts of the batch and of its sequences; gradients are added over all, and divided by the first alone."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
cuts = 2 if size > 1 else 1  # of each sequence
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(4, 8, 4)
rows, length = 4 * cuts // size, 8 // cuts
batch = inputs.narrow(0, rank // cuts * rows, rows).narrow(1, rank % cuts * length, length)
for _ in range(2):
    loss = model(batch).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)  # fault: c10d::allreduce_
        parameter.grad /= size if RIGHT else size // cuts
    optimizer.step()
dist.destroy_process_group()
