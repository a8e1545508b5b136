"""With DistributedDataParallel, the last micro-batch of each step runs in no_sync() too."""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
inputs = torch.randn(2, 8, 4)
for _ in range(2):
    optimizer.zero_grad()
    for number, batch in enumerate(inputs):
        last = RIGHT and number == len(inputs) - 1
        with nullcontext() if last else model.no_sync():
            model(batch[rank * 2 : rank * 2 + 2]).square().mean().backward()
    optimizer.step()  # fault: aten::lerp_
dist.destroy_process_group()
