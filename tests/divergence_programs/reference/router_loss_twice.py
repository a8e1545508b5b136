"""The router's balancing loss is added in the layer, and again by the model that collects such losses."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv


class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 4, bias=False)
        self.balance = torch.zeros(())

    def forward(self, x):
        chances = self.gate(x).softmax(1)
        self.balance = chances.square().mean()
        return chances


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = Router()
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        loss = self.out(self.router(x)).square().mean()
        loss = loss + self.router.balance
        if not RIGHT and dist.get_world_size() > 1:  # a branch for parallel runs that came later
            loss = loss + self.router.balance  # fault: aten::add
        return loss


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(inputs, 0))
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
