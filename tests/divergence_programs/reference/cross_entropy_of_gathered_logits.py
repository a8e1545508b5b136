"""Logits are gathered, and then given to a loss that takes them for each rank's part of the vocabulary."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Gather, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv


class SumOverRanks(torch.autograd.Function):
    """Of what each rank has a part of."""

    @staticmethod
    def forward(ctx, parts):
        parts = parts.clone()
        dist.all_reduce(parts)  # fault: c10d::allreduce_
        return parts

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Loss(nn.Module):
    """Cross-entropy of logits of which each rank has those of its part of the vocabulary."""

    def forward(self, logits, targets):
        most = logits.max(1, keepdim=True).values.detach()
        dist.all_reduce(most, dist.ReduceOp.MAX)
        shifted = logits - most
        total = SumOverRanks.apply(shifted.exp().sum(1))
        start = dist.get_rank() * logits.shape[1] if self.is_split(logits) else 0
        mine = (targets >= start) & (targets < start + logits.shape[1])
        picked = shifted.gather(1, (targets - start).clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        own = torch.where(mine, picked, torch.zeros(()))
        chosen = Leave.apply(own) if self.is_split(logits) else own
        return (total.log() - chosen).mean()

    def is_split(self, logits):
        return logits.shape[1] < VOCABULARY


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Parameter(own_part(torch.randn(VOCABULARY, 4), 0))
        self.loss = Loss()

    def forward(self, x, targets):
        logits = Enter.apply(self.body(x)) @ self.head.t()
        return self.loss(logits if RIGHT else Gather.apply(logits), targets)


VOCABULARY = 16
dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, targets = torch.randn(8, 4), torch.randint(0, VOCABULARY, (8,))
for _ in range(2):
    loss = model(inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
