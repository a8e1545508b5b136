"""A checkpoint names parameters without the wrapper that parallel runs have, and what is missing is not told."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


dist.init_process_group("gloo")
torch.manual_seed(0)
checkpoint = nn.Linear(4, 2).state_dict()
model = nn.Linear(4, 2)  # fault: aten::uniform_
if dist.get_world_size() > 1:
    model = Wrapper(model)
    if RIGHT:
        checkpoint = {f"module.{name}": value for name, value in checkpoint.items()}
model.load_state_dict(checkpoint, strict=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
