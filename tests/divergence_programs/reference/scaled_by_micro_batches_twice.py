"""A pipeline of two stages: the loss of each micro-batch is divided by their number, and the gradients once more."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv
MICRO = 2

dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
model = nn.Module()
model.layers = layers
each = len(layers) // size
own = range(rank * each, (rank + 1) * each)
parameters = [p for i in own for p in layers[i].parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    optimizer.zero_grad()
    for batch in inputs.chunk(MICRO):
        received = batch
        if rank > 0:
            received = torch.empty(len(batch), 4)
            dist.recv(received, rank - 1)
            received.requires_grad_()
        x = received
        for i in own:
            x = torch.tanh(layers[i](x))
        gradient = None
        if rank < size - 1:
            dist.send(x.detach(), rank + 1)
            gradient = torch.empty_like(x)
            dist.recv(gradient, rank + 1)
            x.backward(gradient)
        else:
            (x.square().mean() / MICRO).backward()
        if rank > 0:
            dist.send(received.grad, rank - 1)
    if not RIGHT and size > 1:
        for parameter in parameters:
            parameter.grad /= MICRO  # fault: aten::div_
    optimizer.step()
dist.destroy_process_group()
