"""Gradients are reduced after each micro-batch, and with them what was reduced before."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv
MICRO = 2

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(16, 4)


def reduce_gradients():
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)


for _ in range(2):
    optimizer.zero_grad()
    for number, batch in enumerate(inputs.chunk(MICRO)):
        loss = model(own_part(batch, 0)).square().sum() / inputs.numel()
        loss.backward()  # fault: aten::add_
        if not RIGHT or number == MICRO - 1:
            reduce_gradients()
    optimizer.step()
dist.destroy_process_group()
