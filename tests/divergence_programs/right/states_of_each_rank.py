"""ZeroRedundancyOptimizer: a rank steps its own parameters, then all are broadcast."""
# Only for ranks on their own: it branches on the rank.

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(
    nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
)
optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.01)
x = torch.randn(size * 4, 4)
for _ in range(3):
    loss = model(x[rank * 4 : rank * 4 + 4]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
