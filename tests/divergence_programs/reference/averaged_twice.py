"""DistributedDataParallel has averaged the gradients; the loop divides them by the world size again."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(
    nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    if not RIGHT:
        for parameter in model.parameters():
            parameter.grad.div_(dist.get_world_size())  # fault: aten::div_
    optimizer.step()
dist.destroy_process_group()
