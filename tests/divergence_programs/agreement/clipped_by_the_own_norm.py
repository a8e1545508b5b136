"""Replicas of tensor parallel ranks are clipped by the norm of what each rank holds."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

RIGHT = "right" in sys.argv


class Block(nn.Module):
    """A layer that all hold alike, and one of which each rank has its rows."""

    def __init__(self) -> None:
        super().__init__()
        rank = dist.get_rank()
        rows = torch.randn(4, 8)
        self.first = nn.Linear(4, 8)
        self.rows = nn.Parameter(rows[:, rank * 2 : rank * 2 + 2].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rank = dist.get_rank()
        return all_reduce(self.first(x)[:, rank * 2 : rank * 2 + 2] @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, 4)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.first.parameters():
        dist.all_reduce(parameter.grad)
    squares = model.rows.grad.square().sum()
    if RIGHT:
        dist.all_reduce(squares)
    squares = squares + sum(p.grad.square().sum() for p in model.first.parameters())
    factor = 1.0 / squares.sqrt()
    for parameter in model.parameters():
        parameter.grad.mul_(factor)  # fault: aten::mul_
    optimizer.step()
dist.destroy_process_group()
