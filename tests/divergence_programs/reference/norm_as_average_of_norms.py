"""Ranks have experts of their own, and the norm of all gradients is taken for the average of the ranks' norms."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv


class Experts(nn.Module):
    """Each token goes to all of them."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Parameter(own_part(torch.randn(4, 3, 5), 0))
        self.outer = nn.Parameter(own_part(torch.randn(4, 5, 3), 0))

    def forward(self, x):
        each = torch.relu(Enter.apply(x) @ self.inner) @ self.outer
        return Leave.apply(each.sum(0))


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Experts()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, 3)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    squares = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum()
    if RIGHT:
        dist.all_reduce(squares)
        norm = squares.sqrt()
    else:
        norm = squares.sqrt()  # fault: aten::sqrt
        dist.all_reduce(norm)
        norm /= dist.get_world_size()
    for parameter in model.parameters():
        parameter.grad *= 1 / norm
    optimizer.step()
dist.destroy_process_group()
