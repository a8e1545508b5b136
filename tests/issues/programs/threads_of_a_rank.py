"""Threads that a rank starts: who they are, and collectives on a group of their own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from report import report
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

dist.init_process_group("gloo")
rank = dist.get_rank()
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
group = dist.new_group(backend="gloo")

with ThreadPoolExecutor(1) as pool:
    told = [
        pool.submit(asked).result()
        for asked in (dist.get_rank, dist.get_world_size, mesh.get_coordinate, dist.is_initialized)
    ]

sums = {}


def sum_up(name):
    x = torch.ones(2) * rank
    for _ in range(3):
        dist.all_reduce(x, group=group)
    sums[name] = x


thread = threading.Thread(target=sum_up, args=("in a thread",))
thread.start()
y = torch.ones(1)
for _ in range(5):
    dist.all_reduce(y)
thread.join()

torch.manual_seed(0)
model = nn.Linear(3, 8)
fully_shard(model)
whole = model.weight.full_tensor()
dcp.async_save({"model": model.state_dict()}, checkpoint_id="checkpoint").result()
dist.barrier()
state = {"model": {name: torch.zeros_like(value) for name, value in model.state_dict().items()}}
dcp.load(state, checkpoint_id="checkpoint")
rows = (state["model"]["weight"].full_tensor() == whole).all(1)

report(told=told, sums=sums, main=y, rows=rows)
