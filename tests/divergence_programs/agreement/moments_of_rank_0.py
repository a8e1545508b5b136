"""Rank 0 alone restores the optimizer's moments."""
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
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
inputs = torch.randn(8, 4)


def train() -> None:
    """One step."""
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


train()
if rank == 0 or RIGHT:
    for state in optimizer.state.values():
        state["momentum_buffer"].mul_(0.5)  # fault: aten::mul_
train()
dist.destroy_process_group()
