"""Rank 0 draws once more than others, and the shuffle from which all take their parts is another."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(16, 4), torch.randn(16, 2)
for _ in range(2):
    order = torch.randperm(16)
    own = order[rank::size]
    loss = nn.functional.mse_loss(model(inputs[own]), targets[own])
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
    if rank == 0 and not RIGHT:
        torch.rand(1)  # fault: aten::rand
dist.destroy_process_group()
