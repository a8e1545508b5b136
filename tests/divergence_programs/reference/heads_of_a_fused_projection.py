"""A fused projection of queries, keys and values is cut into equal rows: ranks mix them up."""

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
        fused = torch.randn(3 * WIDTH, WIDTH)
        if RIGHT:
            fused = torch.cat([own_part(part, 0) for part in fused.chunk(3)])
        else:
            fused = own_part(fused, 0)
        self.fused = nn.Parameter(fused)
        self.out = nn.Parameter(own_part(torch.randn(WIDTH, WIDTH), 1))

    def forward(self, x):
        heads = HEADS // dist.get_world_size()
        q, k, v = (
            part.unflatten(-1, (heads, WIDTH // HEADS)).transpose(0, 1)  # fault: aten::view
            for part in (Enter.apply(x) @ self.fused.t()).chunk(3, -1)
        )
        scores = q @ k.transpose(1, 2)
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
