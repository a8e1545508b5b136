"""Each rank moves its loss scale by its own gradients, and takes it off the gradients of all."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rank, size = dist.get_rank(), dist.get_world_size()
inputs = torch.randn(8, 4)[rank * 2 : rank * 2 + 2] * (1 + rank)
scale = torch.tensor(64.0)
for _ in range(3):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    (loss * scale).backward()
    largest = torch.stack([p.grad.abs().max() for p in model.parameters()]).max()
    if RIGHT:
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    next_scale = torch.where(largest > 100, scale / 2, scale)
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, dist.ReduceOp.AVG)
        parameter.grad /= scale  # fault: aten::div_
    scale = next_scale
    optimizer.step()
dist.destroy_process_group()
