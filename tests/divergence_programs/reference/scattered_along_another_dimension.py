"""Sums over the ranks are handed out by rows, where each rank goes on with columns."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, own_part
from torch import nn

RIGHT = "right" in sys.argv


class Scatter(torch.autograd.Function):
    """The sum of all ranks', of which each gets its columns."""

    @staticmethod
    def forward(ctx, x):
        size = dist.get_world_size()
        mine = x.new_empty(x.shape[0] * x.shape[1] // size)
        pieces = x.t().contiguous() if RIGHT else x.contiguous()
        dist.reduce_scatter_tensor(mine, pieces.flatten())
        if RIGHT:
            return mine.view(-1, x.shape[0]).t().contiguous()
        return mine.view(x.shape[0], -1)  # fault: aten::view

    @staticmethod
    def backward(ctx, gradient):
        pieces = [torch.empty_like(gradient) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, gradient.contiguous())
        return torch.cat(pieces, -1)


class Block(nn.Module):
    """A layer of which each rank has rows, and one of which it has columns."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter(own_part(torch.randn(8, 8), 1))
        self.scale = nn.Parameter(own_part(torch.rand(8), 0))

    def forward(self, x):
        return Scatter.apply(own_part(Enter.apply(x), 1) @ self.rows.t()) * self.scale


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(8, 8)
for _ in range(2):
    loss = model(inputs).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
