"""Queries meet the ranks' keys chunk by chunk, and what each chunk gives is averaged, whatever its weight."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_gather

RIGHT = "right" in sys.argv
WIDTH = 4


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x):
        q, keys, values = self.q(x), all_gather(self.k(x)), all_gather(self.v(x))
        scores = [q @ k.t() for k in keys]
        shares = [torch.softmax(s, -1) for s in scores]  # fault: aten::_softmax
        given = [share @ v for share, v in zip(shares, values, strict=True)]
        sums = torch.stack([s.logsumexp(-1) for s in scores])
        weights = torch.softmax(sums, 0) if RIGHT else torch.full_like(sums, 1 / len(scores))
        return (torch.stack(given) * weights[..., None]).sum(0)


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, WIDTH)
for _ in range(2):
    loss = model(own_part(inputs, 0)).square().sum()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    optimizer.step()
dist.destroy_process_group()
