"""What DTensor remembers of a plan is this rank's: shards of other sizes, and steps under a context."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from report import report
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import loss_parallel

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
shards, rows = {}, {}
for size in (7, 5, 3, 1):
    tensor = distribute_tensor(torch.arange(float(size)), mesh, [Shard(0), Shard(0)])
    shards[size] = tensor.to_local()
    rows[size] = tensor.redistribute(placements=[Shard(0), Replicate()]).to_local()

line = mesh["tp"]
torch.manual_seed(0)
logits, target = torch.randn(5, 12), torch.tensor([1, 9, 3, 3, 0])
gradients = []
for _ in range(2):
    sharded = distribute_tensor(logits, line, [Shard(1)]).requires_grad_()
    with loss_parallel():
        F.cross_entropy(sharded, target).backward()
    gradients.append(sharded.grad.to_local())

nested, _ = dist.new_subgroups_by_enumeration([[0, 2], [1, 3]])
single, others = dist.new_subgroups(group_size=1, group=nested)
x = torch.ones(1) * dist.get_rank()
dist.all_reduce(x, group=single)
report(shards=shards, rows=rows, gradients=gradients, nested=[single.size(), len(others), x])
