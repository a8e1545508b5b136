"""A pipeline of four stages: each clips its gradients by the norm of its own."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
torch.manual_seed(0)
rank, size = dist.get_rank(), dist.get_world_size()
layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
each = len(layers) // size
own = range(rank * each, (rank + 1) * each)
parameters = [p for i in own for p in layers[i].parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    optimizer.zero_grad()
    received = inputs
    if rank > 0:
        received = torch.empty(8, 4)
        dist.recv(received, rank - 1)
        received.requires_grad_()
    x = received
    for i in own:
        x = torch.tanh(layers[i](x))
    if rank < size - 1:
        dist.send(x.detach(), rank + 1)
        gradient = torch.empty_like(x)
        dist.recv(gradient, rank + 1)
        x.backward(gradient)
    else:
        x.square().mean().backward()
    if rank > 0:
        dist.send(received.grad, rank - 1)
    squares = torch.stack([p.grad.square().sum() for p in parameters]).sum()  # fault: aten::sum
    if RIGHT:
        dist.all_reduce(squares)
    norm = squares.sqrt()
    for parameter in parameters:
        parameter.grad *= 0.01 / norm
    optimizer.step()
dist.destroy_process_group()
