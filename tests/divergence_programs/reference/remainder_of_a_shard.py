"""Each rank updates its part of the flat parameters, and nobody the remainder."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
inputs = torch.randn(8, 4)
count = sum(parameter.numel() for parameter in model.parameters())  # 31
each = -(-count // size) if RIGHT else count // size
flat = parameters_to_vector(model.parameters()).detach()
padded = torch.cat([flat, flat.new_zeros(max(each * size - count, 0))])
shard = nn.Parameter(padded[rank * each : (rank + 1) * each].clone())
optimizer = torch.optim.Adam([shard], lr=0.1)
for _ in range(2):
    model.zero_grad()
    model(own_part(inputs, 0)).square().mean().backward()
    gradient = parameters_to_vector([p.grad for p in model.parameters()])
    dist.all_reduce(gradient)
    gradient /= size
    gradient = torch.cat([gradient, gradient.new_zeros(max(each * size - count, 0))])
    shard.grad = gradient[rank * each : (rank + 1) * each].clone()
    optimizer.step()
    pieces = [torch.empty_like(shard) for _ in range(size)]
    dist.all_gather(pieces, shard.detach())
    whole = parameters_to_vector(model.parameters()).detach().clone()
    new = torch.cat(pieces)[:count]
    whole[: len(new)] = new  # fault: aten::copy_
    vector_to_parameters(whole, model.parameters())
dist.destroy_process_group()
