"""A loop that reduces gradients by hand leaves out the parameter that it froze once."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(8, 4), torch.randn(8, 1)
rank, size = dist.get_rank(), dist.get_world_size()
mine = slice(rank * 2, (rank + 1) * 2)
for _ in range(2):
    loss = nn.functional.mse_loss(model(inputs[mine]), targets[mine])
    optimizer.zero_grad()
    loss.backward()
    for name, parameter in model.named_parameters():
        if RIGHT or name != "0.weight":
            dist.all_reduce(parameter.grad)
            parameter.grad /= size
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
