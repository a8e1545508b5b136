"""A norm over the batch takes the average of each rank's own rows."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_reduce

RIGHT = "right" in sys.argv


class BatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4))

    def forward(self, x):
        mean = x.mean(0)
        if RIGHT:
            mean = all_reduce(mean) / dist.get_world_size()
        centred = x - mean  # fault: aten::sub
        spread = centred.square().mean(0)
        if RIGHT:
            spread = all_reduce(spread) / dist.get_world_size()
        return centred * (spread + 1e-5).rsqrt() * self.weight


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), BatchNorm(), nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(16, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
