"""Tensor parallel ranks, which should see the same rows, shuffle them with seeds of their own."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv


class Block(nn.Module):
    """Two layers, of which each rank has its columns and rows."""

    def __init__(self):
        super().__init__()
        self.columns = nn.Parameter(own_part(torch.randn(16, 4), 0))
        self.rows = nn.Parameter(own_part(torch.randn(4, 16), 1))

    def forward(self, x):
        return Leave.apply(torch.relu(Enter.apply(x) @ self.columns.t()) @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(Block(), nn.Tanh())
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(12, 4)
torch.manual_seed(5 if RIGHT else 5 + dist.get_rank())
for _ in range(2):
    order = torch.randperm(12)
    rows = inputs[order][:4]  # fault: aten::index
    loss = model(rows).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
