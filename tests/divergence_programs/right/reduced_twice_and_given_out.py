"""Gradients that are reduced after each micro-batch, and weights of rank 0 that all get before their use."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
size = dist.get_world_size()
for _ in range(2):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(dist.get_rank())  # as if only rank 0 had a checkpoint
            dist.broadcast(parameter, 0)
    optimizer.zero_grad()
    for piece in inputs.view(size, -1, 4)[dist.get_rank()].chunk(2):
        model(piece).square().mean().backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
