"""Ranks have parts of the queries, and each masks the keys as if its first query were the first."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_gather

RIGHT = "right" in sys.argv


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        keys = torch.cat(all_gather(self.key(x)))
        scores = self.query(x) @ keys.t()
        first = dist.get_rank() * x.shape[0] if RIGHT else 0
        queries = torch.arange(x.shape[0])[:, None] + first
        later = torch.arange(keys.shape[0]) > queries
        weights = scores.masked_fill(later, -1e9).softmax(-1)  # fault: aten::masked_fill
        return weights @ keys


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), Attention())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
sequence = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(sequence, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
