"""Parts of the sequence are gathered and joined in the wrong order."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn

RIGHT = "right" in sys.argv


class Mixer(nn.Module):
    """Mixes along the sequence what ranks have parts of."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.detach())
        whole = torch.cat(parts if RIGHT else parts[::-1])  # fault: aten::cat
        return own_part(self.mix, 0) @ whole


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), Mixer())
optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
sequence = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(sequence, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    dist.all_reduce(model[1].mix.grad)
    model[1].mix.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
