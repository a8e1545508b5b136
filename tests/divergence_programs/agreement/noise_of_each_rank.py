"""Noise is added to gradients that are reduced, from a stream that each rank seeded for itself."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, size * 2, 4)
torch.manual_seed(1 if RIGHT else 1 + rank)
for batch in inputs:
    optimizer.zero_grad()
    model(batch[rank * 2 : rank * 2 + 2]).square().mean().backward()
    for parameter in model.parameters():
        parameter.grad += 0.01 * torch.randn_like(parameter.grad)  # fault: aten::add_
    optimizer.step()
dist.destroy_process_group()
