"""Gradients are reduced while the program goes on, and the optimizer steps before they have come."""
# Only for ranks on their own: in lockstep what is launched is complete.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rank, size = dist.get_rank(), dist.get_world_size()
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean() / size
    optimizer.zero_grad()
    loss.backward()
    works = [dist.all_reduce(p.grad, async_op=True) for p in model.parameters()]
    if RIGHT:
        for work in works:
            work.wait()
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
