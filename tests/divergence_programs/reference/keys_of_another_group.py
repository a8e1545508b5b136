"""Grouped queries: a rank takes the keys by its rank modulo their number, and not in order."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv
HEADS, GROUPS, WIDTH, SIZE = 4, 2, 8, 2


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Parameter(own_part(torch.randn(HEADS * SIZE, WIDTH), 0))
        self.k = nn.Parameter(torch.randn(GROUPS * SIZE, WIDTH))
        self.v = nn.Parameter(torch.randn(GROUPS * SIZE, WIDTH))
        self.out = nn.Parameter(own_part(torch.randn(WIDTH, HEADS * SIZE), 1))

    def forward(self, x):
        x = Enter.apply(x)
        size, rank = dist.get_world_size(), dist.get_rank()
        heads = HEADS // size
        q = (x @ self.q.t()).unflatten(-1, (heads, SIZE)).transpose(0, 1)
        k = (x @ self.k.t()).unflatten(-1, (GROUPS, SIZE)).transpose(0, 1)
        v = (x @ self.v.t()).unflatten(-1, (GROUPS, SIZE)).transpose(0, 1)
        own = torch.arange(heads) + rank * heads
        which = own // (HEADS // GROUPS) if RIGHT or size == 1 else own % GROUPS
        scores = q @ k[which].transpose(1, 2)  # fault: aten::bmm
        mixed = torch.softmax(scores, -1) @ v[which]
        return Leave.apply(mixed.transpose(0, 1).flatten(1) @ self.out.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, WIDTH)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in (model.k, model.v):
        dist.all_reduce(parameter.grad)
    optimizer.step()
dist.destroy_process_group()
