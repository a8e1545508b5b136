"""Each rank lowers its learning rate when its own validation loss stops falling."""
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
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
torch.manual_seed(100 + rank)
for step in range(3):
    loss = model(torch.randn(2, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # fault: aten::add_
    validation = torch.tensor(1.0 + (step * 0.5 if rank == 1 else -step * 0.5))
    if RIGHT:
        dist.all_reduce(validation)
    scheduler.step(validation.item())
dist.destroy_process_group()
