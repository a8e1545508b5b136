"""Two models with optimizers of their own, and dropout of each rank's own."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
m2 = nn.Linear(4, 2)
oa = torch.optim.SGD(model.parameters(), lr=0.1)
ob = torch.optim.Adam(m2.parameters(), lr=0.1)
x = torch.randn(size * 4, 4)
torch.manual_seed(10 + rank)
for _ in range(3):
    for mm, optimizer in ((model, oa), (m2, ob)):
        loss = F.dropout(mm(x[rank * 4 : rank * 4 + 4]), 0.2).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        for p in mm.parameters():
            dist.all_reduce(p.grad)
        optimizer.step()
dist.destroy_process_group()
