"""Gradients of micro-batches are added up under DistributedDataParallel, and not divided by their number."""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
size = dist.get_world_size()
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
model = nn.parallel.DistributedDataParallel(net) if size > 1 else net
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(16, 4), torch.randn(16, 2)
pieces = 2 if size > 1 else 1
for _ in range(2):
    optimizer.zero_grad()
    batches = zip(
        own_part(inputs, 0).chunk(pieces), own_part(targets, 0).chunk(pieces), strict=False
    )
    for number, (x, y) in enumerate(batches):
        is_last = number == pieces - 1
        with nullcontext() if is_last or size == 1 else model.no_sync():
            loss = nn.functional.mse_loss(model(x), y)  # fault: aten::mse_loss_backward
            if RIGHT:
                loss = loss / pieces
            loss.backward()
    optimizer.step()
dist.destroy_process_group()
