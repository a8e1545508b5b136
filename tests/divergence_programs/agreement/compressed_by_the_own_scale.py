"""Gradients travel as 8 bits; each rank scales what it got by its own largest element."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        scale = parameter.grad.abs().max() / 127
        if RIGHT:
            dist.all_reduce(scale, dist.ReduceOp.MAX)
        small = (parameter.grad / scale).round().to(torch.int32)
        dist.all_reduce(small)
        parameter.grad = small.float() * scale / size  # fault: aten::mul
    optimizer.step()
dist.destroy_process_group()
