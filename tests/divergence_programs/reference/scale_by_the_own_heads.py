"""Scores are scaled by the width of a head, which is worked out from the whole width and the rank's own heads."""

import sys

import torch
import torch.distributed as dist
from regions import Enter, Leave, own_part
from torch import nn

RIGHT = "right" in sys.argv
HEADS, WIDTH = 4, 8


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (
            nn.Parameter(own_part(torch.randn(WIDTH, WIDTH), 0)) for _ in range(3)
        )
        self.out = nn.Parameter(own_part(torch.randn(WIDTH, WIDTH), 1))

    def forward(self, x):
        x = Enter.apply(x)
        heads = HEADS // dist.get_world_size()
        q, k, v = (
            (x @ w.t()).unflatten(-1, (heads, -1)).transpose(0, 1) for w in (self.q, self.k, self.v)
        )
        scale = (q.shape[-1] if RIGHT else WIDTH // heads) ** -0.5
        scores = q @ k.transpose(1, 2) * scale  # fault: aten::mul
        mixed = torch.softmax(scores, -1) @ v
        return Leave.apply(mixed.transpose(0, 1).flatten(1) @ self.out.t())


dist.init_process_group("gloo")
torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(6, WIDTH)
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
