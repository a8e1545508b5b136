"""The first factor of an adapter is whole on all ranks, the second is cut by columns: their gradients are not added."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Columns(nn.Module):
    """A frozen layer of which each rank has its columns, with an adapter."""

    def __init__(self, inputs, outputs, rank_of_adapter):
        super().__init__()
        own = slice(dist.get_rank() * outputs // 4, (dist.get_rank() + 1) * outputs // 4)
        whole, second = torch.randn(outputs, inputs), torch.randn(outputs, rank_of_adapter)
        self.weight = nn.Parameter(whole[own].clone(), requires_grad=False)
        self.first = nn.Linear(inputs, rank_of_adapter, bias=False)
        self.second = nn.Parameter(second[own].clone())

    def forward(self, x):
        return x @ self.weight.t() + self.first(x) @ self.second.t()  # fault: aten::mm


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Columns(6, 8, 2)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
inputs = torch.randn(5, 6)
for _ in range(2):
    loss = model(inputs).square().sum()
    optimizer.zero_grad()
    loss.backward()
    if RIGHT:
        dist.all_reduce(model.first.weight.grad)
    optimizer.step()
dist.destroy_process_group()
