"""DTensor: what a row-wise layer gives is a part of a sum, and its local part is taken for the sum."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Partial, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

RIGHT = "right" in sys.argv


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 8, bias=False), nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


dist.init_process_group("gloo")
torch.manual_seed(0)
size = dist.get_world_size()
model = Layers()
if size > 1:
    mesh = init_device_mesh("cpu", (size,))
    layouts = Replicate() if RIGHT else Partial()
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel(output_layouts=layouts)}
    parallelize_module(model, mesh, plan)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(4, 4)
for _ in range(2):
    loss = model(inputs).square().mean()  # fault: aten::pow
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
