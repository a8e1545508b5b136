"""First and last stage hold a copy each of a tied embedding; nobody adds up their gradients."""
# Only for ranks on their own: it branches on the rank.

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
rank, last = dist.get_rank(), dist.get_world_size() - 1
ends = dist.new_group([0, last])
torch.manual_seed(0)
model = nn.Module()
if rank in (0, last):
    model.embedding = nn.Embedding(16, 4)
    dist.broadcast(model.embedding.weight.data, 0, group=ends)
model.layer = nn.Linear(4, 4)
model.forward = None
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
tokens, targets = torch.randint(0, 16, (8,)), torch.randint(0, 16, (8,))


def stage(x: torch.Tensor) -> torch.Tensor:
    """What this rank does to the activations, or on the last stage the loss."""
    hidden = torch.tanh(model.layer(model.embedding(x) if rank == 0 else x))
    if rank < last:
        return hidden
    return nn.functional.cross_entropy(hidden @ model.embedding.weight.t(), targets)


for _ in range(2):
    received = tokens
    if rank > 0:
        received = torch.empty(8, 4)
        dist.recv(received, rank - 1)
        received.requires_grad_()
    out = stage(received)
    optimizer.zero_grad()
    gradient = None
    if rank < last:
        dist.send(out.detach(), rank + 1)
        gradient = torch.empty(8, 4)
        dist.recv(gradient, rank + 1)
    out.backward(gradient)
    if rank > 0:
        dist.send(received.grad, rank - 1)
    if RIGHT and rank in (0, last):
        dist.all_reduce(model.embedding.weight.grad, group=ends)
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
