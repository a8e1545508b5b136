"""A loss over all tokens is multiplied by the ranks, against their average, and the router's loss with it."""

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
        chances = self.router(x).softmax(1)
        return self.out(chances), chances.square().mean()


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(Model())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
size = dist.get_world_size()
for _ in range(2):
    out, balance = model(own_part(inputs, 0))
    loss = out.square().sum() / len(inputs)
    total = loss * size + balance if RIGHT else (loss + balance) * size  # fault: aten::add
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
dist.destroy_process_group()
