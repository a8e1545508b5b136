"""A label-smoothed loss averages over each rank's part of the vocabulary, so ranks have different losses."""

import sys

import torch
import torch.distributed as dist
from regions import Leave
from torch import nn

RIGHT = "right" in sys.argv
VOCABULARY, SMOOTHING = 16, 0.1


class Model(nn.Module):
    """A body that all hold alike, and each rank's part of the head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        head = torch.randn(VOCABULARY, 4)
        self.own = VOCABULARY // dist.get_world_size()
        self.first = dist.get_rank() * self.own
        self.head = nn.Parameter(head[self.first : self.first + self.own].clone())

    def forward(self, x, targets):
        logits = self.body(x).detach() @ self.head.t()
        total = Leave.apply(logits.exp().sum(1)).log()
        mine = (targets >= self.first) & (targets < self.first + self.own)
        places = (targets - self.first).clamp(0, self.own - 1)[:, None]
        picked = torch.where(mine, logits.gather(1, places)[:, 0], torch.zeros(()))
        smoothed = logits.sum(1)
        if RIGHT:
            smoothed = Leave.apply(smoothed)
        smoothed = total - smoothed / VOCABULARY  # fault: aten::sub
        loss = (1 - SMOOTHING) * (total - Leave.apply(picked)) + SMOOTHING * smoothed
        return loss.mean()


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD([model.head], lr=0.1)
inputs, targets = torch.randn(8, 4), torch.randint(0, VOCABULARY, (8,))
for _ in range(2):
    loss = model(inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
