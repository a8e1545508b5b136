"""Ranks have different columns of the hidden values, and drop the same places of them."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv


class Block(nn.Module):
    """Two layers, of which each rank has its columns and rows, and a dropout between."""

    def __init__(self):
        super().__init__()
        self.columns = nn.Parameter(own_part(torch.randn(16, 4), 0))
        self.rows = nn.Parameter(own_part(torch.randn(4, 16), 1))

    def forward(self, x):
        hidden = torch.relu(Enter.apply(x) @ self.columns.t())
        if RIGHT:
            kept = own_part(torch.empty(x.shape[0], 16).bernoulli_(0.5), 1)
        else:
            kept = torch.empty_like(hidden).bernoulli_(0.5)  # fault: aten::bernoulli_
        return Leave.apply((hidden * kept * 2) @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), Block())
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(6, 4)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
