"""A gradient that is reduced is dropped on one rank, which leaves the parameter's step out."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
inputs = torch.randn(3, size * 2, 4)
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    if rank == 2 and not RIGHT:
        model[0].bias.grad = None
    optimizer.step()  # fault: aten::addcdiv_
dist.destroy_process_group()
