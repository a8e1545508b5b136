"""The backward of a gather gives each rank its own part alone, where all ranks' parts are to be added."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv


class GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        pieces = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, x.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        if RIGHT:
            dist.all_reduce(gradient)
        rows = gradient.shape[0] // dist.get_world_size()
        return gradient.narrow(0, dist.get_rank() * rows, rows)  # fault: aten::slice


class Contrast(nn.Module):
    """Each rank compares its own rows with all."""

    def forward(self, x):
        return x @ GatherRows.apply(x).t()


dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
model = nn.Sequential(nn.Linear(4, 4), Contrast())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(8, 4), torch.arange(8)
for _ in range(2):
    scores = model(own_part(inputs, 0))
    loss = nn.functional.cross_entropy(scores, own_part(targets, 0))
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
