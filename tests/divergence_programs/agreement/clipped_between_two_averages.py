"""A gradient is averaged, scaled by a factor from each rank's own loss, and averaged again."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
size = dist.get_world_size()
for _ in range(2):
    loss = model(inputs.view(size, -1, 4)[dist.get_rank()]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    factor = 1 / (1 + loss.detach())
    if RIGHT:
        dist.all_reduce(factor)
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
        parameter.grad.mul_(factor)  # fault: aten::mul_
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
