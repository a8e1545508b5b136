"""Rank 0 of each group hands out the parts of a weight: over data instead of tensor parallel ranks."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient, group=parts)
        return gradient


class Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x, group=parts)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Block(nn.Module):
    """Two layers, of which each rank has its columns and rows."""

    def __init__(self):
        super().__init__()
        columns, rows = torch.randn(8, 4), torch.randn(4, 8)
        size = mesh["tp"].size()
        group = parts if RIGHT else replicas
        self.columns = nn.Parameter(torch.empty(8 // size, 4))
        self.rows = nn.Parameter(rows.chunk(size, 1)[mesh["tp"].get_local_rank()].clone())
        pieces = list(columns.chunk(size))
        is_first = dist.get_group_rank(group, dist.get_rank()) == 0
        source = dist.get_global_rank(group, 0)
        with torch.no_grad():
            given = pieces if is_first else None
            dist.scatter(self.columns, given, source, group)

    def forward(self, x):
        return Leave.apply(torch.relu(Enter.apply(x) @ self.columns.t()) @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
parts, replicas = mesh["tp"].get_group(), mesh["dp"].get_group()
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(2, 6, 4)[mesh["dp"].get_local_rank()]
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, group=replicas)  # fault: c10d::allreduce_
    optimizer.step()
dist.destroy_process_group()
