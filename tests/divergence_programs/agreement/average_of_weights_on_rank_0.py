"""The moving average of the weights, which all ranks evaluate, is kept on rank 0 alone."""
# Only for ranks on their own: it branches on the rank.

import copy
import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 2)
averaged = copy.deepcopy(model).requires_grad_(False)
ddp = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(3):
    averaged(inputs)
    loss = ddp(inputs + dist.get_rank()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if RIGHT or dist.get_rank() == 0:
        for old, new in zip(averaged.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 0.1)  # fault: aten::lerp_
dist.destroy_process_group()
