"""Ranks have different numbers of rows, and each averages over its own before all are averaged."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(9, 4), torch.randn(9, 1)
rank, size = dist.get_rank(), dist.get_world_size()
mine = slice(rank * 2, rank * 2 + 2) if rank < size - 1 else slice(rank * 2, 9)
for _ in range(2):
    squares = (model(inputs[mine]) - targets[mine]).square()
    loss = squares.sum() * size / 9 if RIGHT else squares.mean()  # fault: aten::mean
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
