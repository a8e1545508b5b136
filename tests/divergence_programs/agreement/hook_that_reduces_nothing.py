"""A communication hook of DistributedDataParallel averages the first bucket only."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 2))
model = nn.parallel.DistributedDataParallel(model, bucket_cap_mb=0.001)


def hook(state, bucket):
    tensor = bucket.buffer()
    if bucket.index() > 0 and not RIGHT:
        done = torch.futures.Future()
        done.set_result(tensor)
        return done
    tensor.div_(size)
    return dist.all_reduce(tensor, async_op=True).get_future().then(lambda f: f.value()[0])


model.register_comm_hook(None, hook)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(4, size * 2, 4)
for batch in inputs:
    optimizer.zero_grad()
    model(batch[rank * 2 : rank * 2 + 2]).square().mean().backward()
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
