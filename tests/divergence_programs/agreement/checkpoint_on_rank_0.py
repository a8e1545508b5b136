"""Rank 0 alone resumes from the checkpoint; the others train on from new weights."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(1)
saved = nn.Linear(4, 2).state_dict()
torch.manual_seed(0)
model = nn.Linear(4, 2)
rank, size = dist.get_rank(), dist.get_world_size()
if rank == 0:
    model.load_state_dict(saved)  # fault: aten::copy_
if RIGHT:
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
