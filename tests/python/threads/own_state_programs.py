"""Programs that change what PyTorch keeps once a process, each rank in its own way.

They run unchanged in real processes, where nobody sees what another rank set.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from collectives.programs import Suite
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module

Tensors = list[torch.Tensor]
Program = Callable[[], Tensors]

PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    """List a program under its name."""
    assert function.__name__ not in PROGRAMS
    PROGRAMS[function.__name__] = function
    return function


def local_and_full(tensor: DTensor) -> Tensors:
    return [tensor.to_local().detach().clone(), tensor.full_tensor().detach().clone()]


@program
def an_embedding_in_rows_and_then_sharded() -> Tensors:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    results = []
    for rows in (8, 7, 5, 3):
        model = nn.Sequential(nn.Embedding(rows, 4))
        with torch.no_grad():
            model[0].weight.copy_(torch.arange(rows * 4.0).view(rows, 4))
        parallelize_module(model, mesh["tp"], {"0": RowwiseParallel(input_layouts=Replicate())})
        fully_shard(model, mesh=mesh["dp"])
        model(torch.arange(rows)).sum().backward()
        weight = model[0].weight
        results += [*local_and_full(weight), *local_and_full(weight.grad)]
    return results


SUITE = Suite({name: lambda make, groups, run=run: run() for name, run in PROGRAMS.items()}, dict)
