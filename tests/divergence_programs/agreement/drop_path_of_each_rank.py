"""Tensor parallel ranks skip different layers: each decides by a draw of its own stream."""

import sys

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch import nn
from torch.distributed._functional_collectives import all_reduce

RIGHT = "right" in sys.argv


class Region(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return funcol.wait_tensor(all_reduce(x, "sum", dist.group.WORLD))

    @staticmethod
    def backward(ctx, g):
        return g


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        r = dist.get_rank()
        self.norm = nn.LayerNorm(4)
        self.inner = nn.Parameter(torch.randn(4, 8)[:, 2 * r : 2 * r + 2].clone())
        self.outer = nn.Parameter(torch.randn(8, 4)[2 * r : 2 * r + 2].clone())

    def forward(self, x):
        keep = (torch.rand(x.shape[0], 1) > 0.5).float()  # fault: aten::rand
        return x + keep * Region.apply(torch.relu(self.norm(x) @ self.inner) @ self.outer)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(Block(), Block())
head = nn.Parameter(torch.randn(4, 2))
optimizer = torch.optim.SGD([*model.parameters(), head], lr=0.1)
x = torch.randn(8, 4)
torch.manual_seed(100 if RIGHT else 100 + dist.get_rank())
for _ in range(2):
    (model(x) @ head).square().mean().backward()
    if RIGHT:
        for block in model:
            for p in block.norm.parameters():
                dist.all_reduce(p.grad)
    optimizer.step()
    optimizer.zero_grad()
dist.destroy_process_group()
