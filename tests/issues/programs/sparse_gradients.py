"""An embedding with sparse gradients in DistributedDataParallel, and SparseAdam."""

import torch
import torch.distributed as dist
from report import report
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
torch.manual_seed(1)
model = DistributedDataParallel(torch.nn.EmbeddingBag(10, 3, sparse=True))
optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.1)
torch.manual_seed(dist.get_rank())
losses = []
for _ in range(3):
    optimizer.zero_grad()
    loss = model(torch.randint(10, (4, 6))).square().sum()
    loss.backward()
    optimizer.step()
    losses.append(loss.detach())
report(weight=model.module.weight.detach(), losses=losses)
