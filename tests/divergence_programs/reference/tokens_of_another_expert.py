"""Ranks hold two experts each, side by side, and count them as if they were dealt out one by one."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv
EXPERTS = 8


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(4, EXPERTS, bias=False)
        self.weights = nn.Parameter(own_part(torch.randn(EXPERTS, 4, 4), 0))

    def forward(self, x):
        chances = Enter.apply(self.router(x).softmax(1))
        x, size, rank = Enter.apply(x), dist.get_world_size(), dist.get_rank()
        own, out = len(self.weights), 0
        for i in range(own):
            number = rank * own + i if RIGHT or size == 1 else i * size + rank
            chance = chances[:, number, None]
            out = out + torch.tanh(x @ self.weights[i]) * chance  # fault: aten::mul
        return Leave.apply(out)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Experts()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, 4)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
