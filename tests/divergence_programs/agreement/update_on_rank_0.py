"""The main process clamps the weights that it is about to save, and only there."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for step in range(3):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 1 and (rank == 0 or RIGHT):
        with torch.no_grad():
            model.module.weight.clamp_(-0.2, 0.2)  # fault: aten::clamp_
dist.destroy_process_group()
