"""fully_shard of parameters that tensor parallelism has cut into pieces of differing sizes."""

import torch
import torch.distributed as dist
from report import report
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
results = {}


def train(name, module, plan, batch):
    """Two steps of a module; what its parameters and gradients are on the ranks and as a whole."""
    parallelize_module(module, mesh["tp"], plan)
    fully_shard(module, mesh=mesh["dp"])
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        module(batch).square().sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    parameters = list(module.parameters())
    results[name] = [
        norm.full_tensor(),
        parameters,
        [parameter.full_tensor() for parameter in parameters],
        [parameter.grad.full_tensor() for parameter in parameters],
    ]


for rows in (9, 6, 5, 3):
    torch.manual_seed(rows)
    plan = {"0": RowwiseParallel(input_layouts=Replicate())}
    train(f"embedding of {rows}", nn.Sequential(nn.Embedding(rows, 2)), plan, torch.arange(rows))
for width in (7, 5, 3):
    torch.manual_seed(width)
    plan = {
        "0": ColwiseParallel(),
        "2": ColwiseParallel(input_layouts=Shard(-1), output_layouts=Replicate()),
    }
    layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, width))
    train(f"layers of {width}", layers, plan, torch.randn(5, 3))
report(**results)
