"""The average of weights that evaluation takes decays by the number of tokens of the own rank."""

import copy
import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Linear(4, 2)
average = copy.deepcopy(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(3, size * 2, 4)
for batch in inputs:
    own = batch[rank * 2 : rank * 2 + 2]
    loss = model(own).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
    tokens = (own > 0).sum().float()
    if RIGHT:
        dist.all_reduce(tokens)
        tokens = tokens / size
    with torch.no_grad():
        for kept, parameter in zip(average.parameters(), model.parameters(), strict=False):
            kept.lerp_(parameter, 0.1 * tokens)  # fault: aten::lerp_
        average(own)
dist.destroy_process_group()
