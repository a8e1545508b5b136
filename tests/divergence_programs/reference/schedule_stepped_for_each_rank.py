"""The schedule of the rate takes a step for each rank: it was written for the batches of one."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 20)
inputs = torch.randn(8, 4)
size = dist.get_world_size()
for _ in range(3):
    loss = model(own_part(inputs, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()  # fault: aten::add_
    for _ in range(1 if RIGHT else size):
        schedule.step()
dist.destroy_process_group()
