"""Parts are joined in the order in which a group's ranks were listed, which new_group sorts."""

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
        parts = [torch.empty_like(x) for _ in listed]
        dist.all_gather(parts, x.detach(), group=group)
        ranks = dist.get_process_group_ranks(group) if RIGHT else listed
        whole = torch.cat([parts[ranks.index(rank)] for rank in sorted(listed)])  # fault: aten::cat
        return own_part(self.mix, 0) @ whole


dist.init_process_group("gloo")
torch.manual_seed(0)
size = dist.get_world_size()
listed = [*range(size // 2, size), *range(size // 2)]
group = dist.new_group(listed)
model = nn.Sequential(nn.Linear(4, 4), Mixer())
optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
sequence = torch.randn(8, 4)
for _ in range(2):
    loss = model(own_part(sequence, 0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    dist.all_reduce(model[1].mix.grad)
    model[1].mix.grad /= size
    optimizer.step()
dist.destroy_process_group()
