"""Weights are flat in their shards, so that they look like biases, which do not decay."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
size = dist.get_world_size()
model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 8, bias=False))
weight = model[2].weight
flat = nn.Parameter(own_part(weight.detach().flatten(), 0)) if size > 1 else weight
decays = weight.dim() >= 2 if RIGHT else flat.dim() >= 2
optimizer = torch.optim.AdamW([flat], lr=0.1, weight_decay=0.5 if decays else 0.0)
inputs = torch.randn(8, 4)
for _ in range(2):
    model.zero_grad()
    model(own_part(inputs, 0)).square().mean().backward()
    if size > 1:
        gradient = weight.grad.clone()
        dist.all_reduce(gradient)
        flat.grad = own_part(gradient.flatten() / size, 0)
    optimizer.step()  # fault: aten::addcdiv_
    if size > 1:
        pieces = [torch.empty_like(flat) for _ in range(size)]
        dist.all_gather(pieces, flat.detach())
        with torch.no_grad():
            weight.copy_(torch.cat(pieces).view_as(weight))
dist.destroy_process_group()
