"""Prints the seconds of one training step of examples/llama's model: forward, backward, AdamW.

Usage: parallel_step.py (polyrank|pytorch|floor) (tensor|data|fsdp) NUM_RANKS NUM_STEPS

tensor: DTensor's tensor and sequence parallelism, beyond 16 ranks with data parallel replicas;
data: plain tensors, gradients averaged by all_reduce; fsdp: fully_shard. Data parallel ranks
have batches of their own. The floor is the same program as one rank of a fake process group: what
PyTorch's own Python costs.
"""

import sys
import time
from pathlib import Path

import polyrank
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import _local_tensor as pytorch
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional
from worlds import fake_process_group, polyrank_lockstep, pytorch_lockstep

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "llama"))
from model import ModelConfig, Transformer
from parallelize import apply_tensor_parallel
from torch.distributed.fsdp import fully_shard

_MAX_TP = 16
_BATCH_SIZE = 2
_CONFIG = ModelConfig(num_heads=16, num_kv_heads=16, max_seq_len=32)

simulator, program, num_ranks, num_steps = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
lockstep = {
    "polyrank": polyrank_lockstep,
    "pytorch": pytorch_lockstep,
    "floor": fake_process_group,
}[simulator]
rank_map = {
    "polyrank": polyrank.rank_map,
    "pytorch": pytorch.rank_map,
    "floor": lambda of_rank: of_rank(0),
}[simulator]


def batch_of(rank: int) -> Tensor:
    generator = torch.Generator().manual_seed(rank // tp_size)
    shape = (_BATCH_SIZE, _CONFIG.max_seq_len + 1)
    return torch.randint(_CONFIG.vocab_size, shape, generator=generator)


def average_gradients(model: Transformer) -> None:
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad.div_(num_ranks)


if simulator == "polyrank":
    polyrank.install()
torch.set_num_threads(1)
with lockstep(num_ranks):
    tp_size = min(_MAX_TP, num_ranks) if program == "tensor" else 1
    mesh = init_device_mesh("cpu", (num_ranks // tp_size, tp_size), mesh_dim_names=("dp", "tp"))
    torch.manual_seed(0)
    batch = rank_map(batch_of)
    model = Transformer(_CONFIG)
    if program == "tensor":
        apply_tensor_parallel(model, mesh["tp"])
    elif program == "fsdp":
        for layer in model.layers.values():
            fully_shard(layer, mesh=mesh["dp"])
        fully_shard(model, mesh=mesh["dp"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    shortest = float("inf")
    for step in range(2 + num_steps):
        start = time.perf_counter()
        logits = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if program == "data":
            average_gradients(model)
        optimizer.step()
        if step > 1:  # the first fill the caches
            shortest = min(shortest, time.perf_counter() - start)
print(shortest)
