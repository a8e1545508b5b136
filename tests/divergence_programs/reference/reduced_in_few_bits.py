"""Gradients in float32 are cast to bfloat16 to be reduced, so that the sum has three digits."""

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
inputs = torch.randn(16, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().sum() / inputs.numel()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        if RIGHT or dist.get_world_size() == 1:
            dist.all_reduce(parameter.grad)
        else:
            short = parameter.grad.bfloat16()  # fault: aten::_to_copy
            dist.all_reduce(short)
            parameter.grad.copy_(short)
    optimizer.step()
dist.destroy_process_group()
