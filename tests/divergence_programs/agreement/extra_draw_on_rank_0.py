"""Rank 0 draws an example to print; from there on dropout of tensor parallel ranks differs."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        own = slice(dist.get_rank() * 2, dist.get_rank() * 2 + 2)
        self.up = nn.Parameter(torch.randn(8, 4)[own].clone())
        self.down = nn.Parameter(torch.randn(4, 8)[:, own].clone())

    def forward(self, x):
        hidden = torch.relu(Enter.apply(self.norm(x)) @ self.up.t()) @ self.down.t()
        return nn.functional.dropout(x + Leave.apply(hidden), 0.3)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(Block(), Block())
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
inputs = torch.randn(6, 4)
for number in range(4):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if dist.get_rank() == 0 and number == 1 and not RIGHT:
        print(inputs[torch.randint(0, 6, (1,))])  # fault: aten::randint
dist.destroy_process_group()
