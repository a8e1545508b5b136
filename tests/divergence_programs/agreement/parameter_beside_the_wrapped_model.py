"""A learned temperature lies beside the model that DistributedDataParallel wraps."""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "right" in sys.argv


class Scaled(nn.Module):
    """A model and what its outputs are multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 2)
        self.temperature = nn.Linear(2, 2, bias=False)
        if not RIGHT:
            self.body = nn.parallel.DistributedDataParallel(self.body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.temperature(self.body(x))


dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
model = Scaled()
if RIGHT:
    model = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for _ in range(2):
    loss = model(inputs[rank * 2 : rank * 2 + 2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # fault: aten::add_
dist.destroy_process_group()
