"""A rank whose own gradients overflow skips the step, and the others take it."""
# Only for ranks on their own: it branches on values of the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(3, size * 2, 4)
inputs[1, 2] = torch.inf
scale = 1024.0
for batch in inputs:
    loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean() * scale
    optimizer.zero_grad()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    finite = torch.stack([gradient.isfinite().all() for gradient in gradients]).all().float()
    if RIGHT:
        dist.all_reduce(finite, dist.ReduceOp.MIN)
    for gradient in gradients:
        gradient.nan_to_num_(0.0, 0.0, 0.0)
        dist.all_reduce(gradient)
        gradient.div_(size * scale)
    if finite:
        optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
