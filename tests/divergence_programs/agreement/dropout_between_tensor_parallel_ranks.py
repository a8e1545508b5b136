"""Tensor parallel ranks drop different elements of what they hold alike."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Enter(torch.autograd.Function):
    """Into the parallel region: the gradient is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class Leave(torch.autograd.Function):
    """Out of the parallel region: the value is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Block(nn.Module):
    """Two layers, of which each rank has its columns and rows, behind a dropout."""

    def __init__(self) -> None:
        super().__init__()
        rank = dist.get_rank()
        columns, rows = torch.randn(8, 4), torch.randn(4, 8)
        self.scale = nn.Parameter(torch.rand(4))
        self.columns = nn.Parameter(columns[rank * 2 : rank * 2 + 2].clone())
        self.rows = nn.Parameter(rows[:, rank * 2 : rank * 2 + 2].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.dropout(x * self.scale, 0.5)  # fault: aten::bernoulli_
        hidden = torch.relu(Enter.apply(x) @ self.columns.t()) @ self.rows.t()
        return x + Leave.apply(hidden)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, 4)
torch.manual_seed(7 if RIGHT else 7 + dist.get_rank())
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
