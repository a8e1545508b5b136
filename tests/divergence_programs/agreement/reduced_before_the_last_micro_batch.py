"""Gradients are reduced after the first of two micro-batches; the second adds each rank's own."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


def reduce_gradients() -> None:
    """Sum over all ranks."""
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)


dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(2, 8, 4)
for _ in range(2):
    optimizer.zero_grad()
    for number, batch in enumerate(inputs):
        loss = model(batch[rank * 2 : rank * 2 + 2]).square().mean()
        loss.backward()  # fault: aten::add_
        if number == (1 if RIGHT else 0):
            reduce_gradients()
    optimizer.step()
dist.destroy_process_group()
