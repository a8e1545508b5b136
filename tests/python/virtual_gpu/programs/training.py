"""A program for GPUs, or the CPU where there is none: each rank has one, by its local rank."""

import torch
import torch.distributed as dist
from report import report
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

has_gpus = torch.cuda.is_available()
dist.init_process_group("nccl" if has_gpus else "gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
kind = "cuda" if has_gpus else "cpu"
own = torch.device("cuda", dist.get_node_local_rank()) if has_gpus else torch.device("cpu")
if has_gpus:
    torch.cuda.set_device(own)
results = {}


def on_cpu(value):
    """The value with all tensors on the CPU."""
    if isinstance(value, list | tuple):
        return [on_cpu(entry) for entry in value]
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def model_of(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4)).to(own)


def plain_model():
    """Layers that autocast treats alike on both kinds of devices."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).to(own)


def batch_of(step):
    torch.manual_seed(10 * step + rank)
    return torch.randn(3, 6, device=kind)


def trained(model, optimizer, *, dtype=None):
    """Losses and parameters of three steps."""
    losses = []
    scaler = torch.amp.GradScaler(kind, enabled=dtype == torch.float16)
    for step in range(3):
        optimizer.zero_grad(set_to_none=step % 2 == 0)
        with torch.autocast(kind, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = model(batch_of(step)).float().square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss)
    parameters = [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]
    return [losses, parameters]


def collectives():
    """What functions of torch.distributed give of tensors on each rank's own device."""
    mine = torch.arange(4.0, device=own) + 10 * rank
    outputs = {}
    for op in (dist.ReduceOp.SUM, dist.ReduceOp.MAX, dist.ReduceOp.PRODUCT):
        reduced = mine.clone()
        dist.all_reduce(reduced, op)
        outputs[str(op)] = reduced
    parts = [torch.zeros(4, device=kind) for _ in range(world_size)]
    dist.all_gather(parts, mine)
    whole = torch.empty(4 * world_size, device=own)
    dist.all_gather_into_tensor(whole, mine)
    shard = torch.empty(1, device=own)
    dist.reduce_scatter_tensor(shard, mine[:world_size].clone())
    exchanged = torch.empty_like(mine[:world_size])
    dist.all_to_all_single(exchanged, mine[:world_size].clone())
    sent = mine.clone()
    dist.broadcast(sent, 2)
    work = dist.all_reduce(strided := mine[::2].clone().to(torch.float64), async_op=True)
    work.wait()
    names = ("parts", "whole", "shard", "exchanged", "sent", "strided")
    outputs.update(zip(names, (parts, whole, shard, exchanged, sent, strided), strict=True))
    return outputs


def dtensors():
    """Layouts that change, and tensor parallelism, on a mesh of all ranks' devices."""
    mesh = init_device_mesh(kind, (2, 2), mesh_dim_names=("dp", "tp"))
    given = torch.arange(32.0, device=own).view(8, 4)
    cut = distribute_tensor(given, mesh, [Shard(0), Shard(1)])
    product = cut @ distribute_tensor(given.t().contiguous(), mesh, [Replicate(), Shard(0)])
    whole = product.redistribute(placements=[Replicate(), Replicate()]).to_local()
    layers = nn.Sequential(nn.Linear(4, 8, device=own), nn.ReLU(), nn.Linear(8, 4, device=own))
    for number, parameter in enumerate(layers.parameters()):
        nn.init.constant_(parameter, 0.1 * (number + 1))
    parallelize_module(layers, mesh["tp"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    layers(given).square().sum().backward()
    gradients = [parameter.grad.full_tensor() for parameter in layers.parameters()]
    summed = cut.sum().redistribute(placements=[Replicate(), Replicate()])
    assert all(isinstance(p, Partial | Shard | Replicate) for p in product.placements)
    return [whole, gradients, summed.to_local(), mesh.device_type == kind]


ids = {"device_ids": [own.index], "output_device": own.index} if has_gpus else {}
ddp = DistributedDataParallel(model_of(1), **ids)
results["ddp"] = trained(ddp, torch.optim.SGD(ddp.parameters(), 0.1, momentum=0.9))
viewed = DistributedDataParallel(plain_model(), gradient_as_bucket_view=True, **ids)
results["amp"] = trained(viewed, torch.optim.Adam(viewed.parameters()), dtype=torch.bfloat16)
sharded = model_of(3)
fully_shard(sharded, mesh=init_device_mesh(kind, (world_size,)))
results["fsdp"] = trained(sharded, torch.optim.AdamW(sharded.parameters(), 0.1))
mixed = model_of(4)
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
fully_shard(mixed, mesh=init_device_mesh(kind, (2, 2), mesh_dim_names=("r", "s")), mp_policy=policy)
results["hsdp"] = trained(mixed, torch.optim.AdamW(mixed.parameters(), 0.1))
results["collectives"] = collectives()
results["dtensors"] = dtensors()
report(
    **{
        name: {key: on_cpu(entry) for key, entry in value.items()}
        if isinstance(value, dict)
        else on_cpu(value)
        for name, value in results.items()
    }
)
