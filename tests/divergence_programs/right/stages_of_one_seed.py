"""Stages of a pipeline that were drawn alike and have the same names."""
# Only for ranks on their own: it branches on the rank.

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.lin = nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.lin(self.norm(x)))


model = Stage()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
x = torch.randn(2, 4)
for _ in range(3):
    if rank > 0:
        x = torch.empty(2, 4)
        dist.recv(x, rank - 1)
        x.requires_grad_()
    y = model(x)
    optimizer.zero_grad()
    if rank < size - 1:
        dist.send(y.detach(), rank + 1)
        g = torch.empty_like(y)
        dist.recv(g, rank + 1)
        y.backward(g)
    else:
        y.pow(2).mean().backward()
    if rank > 0:
        dist.send(x.grad, rank - 1)
    optimizer.step()
    x = x.detach()
dist.destroy_process_group()
