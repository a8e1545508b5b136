"""Each rank clamps its weights by a bound from its own loss; a broadcast before the step hides it."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
size = dist.get_world_size()
bound = torch.tensor(1.0)
for _ in range(3):
    with torch.no_grad():
        model[0].weight.clamp_(max=bound)  # fault: aten::clamp_
    loss = model(inputs.view(size, -1, 4)[dist.get_rank()]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    bound = loss.detach() * 0.2
    if RIGHT:
        dist.all_reduce(bound)
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
        dist.broadcast(parameter.data, 0)
    optimizer.step()
dist.destroy_process_group()
