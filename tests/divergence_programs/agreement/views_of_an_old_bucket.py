"""Gradients were views of a bucket until they were set to None: what is reduced is the old bucket."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
parameters = list(model.parameters())
bucket = torch.zeros(sum(p.numel() for p in parameters))
for parameter, piece in zip(parameters, bucket.split([p.numel() for p in parameters]), strict=True):
    parameter.grad = piece.view_as(parameter)
inputs = torch.randn(8, 4)
for step in range(3):
    if step:
        optimizer.zero_grad(set_to_none=not RIGHT)
    loss = model(inputs + dist.get_rank()).square().mean()
    loss.backward()
    dist.all_reduce(bucket)
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
