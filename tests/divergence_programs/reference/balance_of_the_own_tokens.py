"""The loss that balances experts multiplies averages over each rank's own tokens."""

import sys

import torch
import torch.distributed as dist
from regions import own_part
from torch import nn
from torch.distributed.nn.functional import all_reduce

RIGHT = "right" in sys.argv


class Router(nn.Module):
    """Chooses one of four experts, and says how uneven the choice is."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 4)

    def forward(self, x):
        likely = self.gate(x).softmax(-1)
        chosen = nn.functional.one_hot(likely.argmax(-1), 4).float()
        share, load = likely.mean(0), chosen.mean(0)
        if RIGHT:
            share = all_reduce(share) / dist.get_world_size()
            load = all_reduce(load) / dist.get_world_size()
        return likely, 4 * (share * load).sum()  # fault: aten::mul


dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), Router())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
tokens = torch.randn(16, 4)
for _ in range(2):
    likely, uneven = model(own_part(tokens, 0))
    loss = likely[:, 0].mean() + uneven
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()
dist.destroy_process_group()
