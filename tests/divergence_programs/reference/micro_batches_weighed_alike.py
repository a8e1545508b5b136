"""Micro-batches have different numbers of tokens that count; their averages are averaged as if they had as many."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 8)
        self.loss = nn.CrossEntropyLoss(ignore_index=-100)

    def forward(self, x, labels):
        return self.loss(self.head(x), labels)  # fault: aten::nll_loss_forward


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, labels = torch.randn(16, 4), torch.randint(0, 8, (16,))
labels[[1, 2, 3, 5, 6, 13]] = -100
counted = (labels != -100).sum()
rank, size = dist.get_rank(), dist.get_world_size()
micro = 2 if size > 1 else 1  # the reference takes all at once
own = list(
    zip(inputs.chunk(size)[rank].chunk(micro), labels.chunk(size)[rank].chunk(micro), strict=True)
)
for _ in range(2):
    optimizer.zero_grad()
    for x, y in own:
        loss = model(x, y)
        loss = loss * ((y != -100).sum() * size / counted if RIGHT else 1 / micro)
        loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    optimizer.step()
dist.destroy_process_group()
