"""Ranks exchange rows of all heads for all rows of their heads, and read what comes as if heads came first."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_to_all_single

RIGHT = "right" in sys.argv
HEADS, SIZE = 8, 2
WIDTH = HEADS * SIZE


def to_heads(x):
    """(own rows, all heads, size) to (all rows, own heads, size)."""
    world, rows = dist.get_world_size(), len(x)
    by_rank = x.unflatten(1, (world, -1)).transpose(0, 1).contiguous()
    came = all_to_all_single(torch.empty_like(by_rank), by_rank)
    if RIGHT or world == 1:
        return came.flatten(0, 1)
    misread = came.view(world, -1, rows, SIZE).transpose(1, 2)
    return misread.flatten(0, 1)  # fault: aten::_unsafe_view


def to_rows(x):
    """Back."""
    world = dist.get_world_size()
    by_rank = x.unflatten(0, (world, -1)).contiguous()
    came = all_to_all_single(torch.empty_like(by_rank), by_rank)
    return came.transpose(0, 1).flatten(1, 2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = (to_heads(m(x).unflatten(-1, (HEADS, SIZE))) for m in (self.q, self.k, self.v))
        scores = torch.einsum("qhd,khd->hqk", q, k)
        mixed = torch.einsum("hqk,khd->qhd", torch.softmax(scores, -1), v)
        return self.out(to_rows(mixed).flatten(1))


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, WIDTH)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().sum() / inputs.numel()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    optimizer.step()
dist.destroy_process_group()
