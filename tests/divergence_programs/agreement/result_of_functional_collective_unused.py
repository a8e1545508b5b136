"""The functional all_reduce gives a new tensor, and nobody takes it."""

import sys

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
inputs = torch.randn(2, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        reduced = funcol.all_reduce(parameter.grad, "avg", dist.group.WORLD)
        reduced = funcol.wait_tensor(reduced)
        if RIGHT:
            parameter.grad = reduced
    optimizer.step()  # fault: aten::lerp_
dist.destroy_process_group()
