"""Random DTensors: what all shards draw, and what each rank draws afterwards from its own stream."""

import torch
import torch.distributed as dist
from report import report
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor, rand, randn

dist.init_process_group("nccl")
torch.cuda.set_device(dist.get_node_local_rank())
line = init_device_mesh("cuda", (4,))
square = init_device_mesh("cuda", (2, 2), mesh_dim_names=("dp", "tp"))
drawn = {}


def keep(name, tensor):
    """What each rank holds, and the whole."""
    drawn[name] = [tensor.to_local().cpu(), tensor.full_tensor().cpu()]


torch.manual_seed(5)
for size in (1, 2, 6, 17):  # elements a rank
    keep(f"rand {size}", rand(4 * size, device_mesh=line, placements=[Shard(0)]))
    keep(f"randn {size}", randn(4 * size, device_mesh=line, placements=[Shard(0)]))
keep("replicas", randn(5, device_mesh=line, placements=[Replicate()]))
keep("half", randn(4, 6, device_mesh=square, placements=[Replicate(), Shard(1)]))
ones = distribute_tensor(torch.ones(8, 8, device="cuda"), square, [Shard(0), Shard(1)])
keep("dropout", torch.nn.functional.dropout(ones, 0.5))
keep("normal_", ones.clone().normal_())
keep("uniform_", ones.to(torch.float64).uniform_())
keep("randint", torch.randint_like(ones, 1000))
own = torch.Generator("cuda")
own.manual_seed(3)
keep("own generator", ones.clone().normal_(generator=own))
report(drawn=drawn, afterwards=torch.rand(3, device="cuda").cpu())
