"""torchao: training in float8, with FSDP2, which gathers weights in float8; `--emulate`: by casts."""

import sys

import torch
import torch.distributed as dist
from results import digest, report
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torchao.float8 import (
    Float8LinearConfig,
    convert_to_float8_training,
    precompute_float8_dynamic_scale_for_fsdp,
)

dist.init_process_group("nccl")
torch.cuda.set_device(dist.get_node_local_rank())
mesh = init_device_mesh("cuda", (dist.get_world_size(),))
torch.manual_seed(1)
model = torch.nn.Sequential(
    torch.nn.Linear(32, 64, bias=False), torch.nn.ReLU(), torch.nn.Linear(64, 32, bias=False)
).cuda()
config = Float8LinearConfig(enable_fsdp_float8_all_gather=True, emulate="--emulate" in sys.argv)
convert_to_float8_training(model, config=config)
for layer in model:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
data = torch.Generator()
losses = []
for step in range(3):
    data.manual_seed(step)
    x = torch.randn(16, 32, generator=data).cuda() * (1 + dist.get_rank())
    loss = (model(x) - x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    precompute_float8_dynamic_scale_for_fsdp(model)
    losses.append(loss.item())
report(losses=losses, parameters=digest(model))
