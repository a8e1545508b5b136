"""A tensor of each rank's own is declared a replica: DTensor.from_local does not look."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

RIGHT = "right" in sys.argv

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
torch.manual_seed(0 if RIGHT else dist.get_rank())
weight = torch.randn(4, 4)  # fault: aten::randn
model = nn.Linear(4, 4, bias=False)
model.weight = nn.Parameter(DTensor.from_local(weight, mesh, [Replicate()]))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = distribute_tensor(torch.ones(8, 4), mesh, [Replicate()])
for _ in range(2):
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
