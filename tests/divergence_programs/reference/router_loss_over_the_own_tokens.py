"""Gradients are added over parts of the sequence; the router's loss is an average over each rank's own part."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(4, 4, bias=False)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        logits = self.router(x)
        tokens = len(x) * dist.get_world_size()
        squares = logits.logsumexp(1).square().sum()
        penalty = squares / (tokens if RIGHT else len(x))
        return self.out(logits.softmax(1)).square().sum() / tokens + penalty  # fault: aten::add


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
    optimizer.step()
dist.destroy_process_group()
