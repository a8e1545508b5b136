"""The norm of gradients adds up all ranks' squares, those of replicated parameters as often as there are ranks."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.columns = nn.Parameter(own_part(torch.randn(8, 4), 0))
        self.rows = nn.Parameter(own_part(torch.randn(4, 8), 1))

    def forward(self, x):
        return Leave.apply(torch.relu(Enter.apply(self.norm(x)) @ self.columns.t()) @ self.rows.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Layers()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(4, 4)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    sharded = sum(p.grad.square().sum() for p in (model.columns, model.rows))
    replicated = sum(p.grad.square().sum() for p in model.norm.parameters())
    if RIGHT:
        dist.all_reduce(sharded)
        total = sharded + replicated
    else:
        total = sharded + replicated  # fault: aten::add
        dist.all_reduce(total)
    scale = 0.1 / total.sqrt()
    for parameter in model.parameters():
        parameter.grad *= scale
    optimizer.step()
dist.destroy_process_group()
