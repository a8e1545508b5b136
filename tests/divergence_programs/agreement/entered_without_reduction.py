"""What enters a layer of which each rank has its columns gets the gradient of the own columns alone."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Enter(torch.autograd.Function):
    """The gradient is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class Leave(torch.autograd.Function):
    """The value is the sum of all ranks'."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        rank = dist.get_rank()
        self.embed = nn.Linear(6, 8)
        self.columns = nn.Parameter(torch.randn(16, 8)[rank * 4 : rank * 4 + 4].clone())
        self.rows = nn.Parameter(torch.randn(8, 16)[:, rank * 4 : rank * 4 + 4].clone())

    def forward(self, x):
        x = self.embed(x)
        entered = Enter.apply(x) if RIGHT else x
        hidden = torch.relu(entered @ self.columns.t())  # fault: aten::mm
        return x + Leave.apply(hidden @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
inputs = torch.randn(5, 6)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
