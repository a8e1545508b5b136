"""Each rank draws its batch from all samples, without a sampler that gives it a part: all train on the same."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(16, 4)
rank, size = dist.get_rank(), dist.get_world_size()
for _ in range(2):
    order = torch.randperm(16)[:8]
    order = order[rank::size] if RIGHT else order[: 8 // size]
    loss = model(inputs[order]).square().mean()  # fault: aten::mm
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
