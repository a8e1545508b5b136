"""A weight is held transposed: what is reduced is the contiguous copy of its gradient, which nobody takes."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Parameter(torch.randn(6, 3).t())

    def forward(self, x):
        return torch.tanh(self.first(x)) @ self.second.t()


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rank, size = dist.get_rank(), dist.get_world_size()
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        gradient = parameter.grad.contiguous()
        dist.all_reduce(gradient)
        if RIGHT:
            parameter.grad.copy_(gradient)
        parameter.grad /= size
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
