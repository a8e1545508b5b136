"""Prints the seconds of work in a fake world.

Usage: fake_world.py (polyrank|pytorch) (start|mesh|step|rank) WORLD_SIZE RANK

start: init_process_group; mesh: a 4-D mesh (pp, dp, cp, tp), two dimensions of it flattened and two
sliced; step: forward and backward of examples/llama's model with tensor parallelism (8) and FSDP2
(all other ranks) on FakeTensors; rank: becoming another rank of that mesh, for PyTorch by starting
again.
"""

import sys
import time
from math import gcd
from pathlib import Path

import polyrank
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "llama"))
from model import ModelConfig, Transformer
from parallelize import parallelize

_TP, _CP, _PP = 8, 8, 16
_CONFIG = ModelConfig(dim=1024, num_heads=16, num_kv_heads=8, hidden_dim=4096, max_seq_len=128)
_MANY = 300

simulator, work, world_size, rank = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])


def start(own_rank: int) -> None:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=own_rank, world_size=world_size, store=FakeStore())


def make_mesh() -> DeviceMesh:
    cp = gcd(_CP, world_size // _TP)
    pp = gcd(_PP, world_size // _TP // cp)
    shape = (pp, world_size // _TP // cp // pp, cp, _TP)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("pp", "dp", "cp", "tp"))
    mesh["dp", "cp"]._flatten("dp_cp")
    mesh["dp", "tp"].get_group("tp").rank()
    return mesh


def step() -> float:
    mesh = init_device_mesh("cpu", (world_size // _TP, _TP), mesh_dim_names=("dp", "tp"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = Transformer(_CONFIG)
        parallelize(model, mesh)
        shortest = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            tokens = torch.zeros(2, _CONFIG.max_seq_len, dtype=torch.int64)
            logits = model(tokens)
            functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
            model.zero_grad()
            shortest = min(shortest, time.perf_counter() - began)
    return shortest


def become_another() -> float:
    if simulator == "pytorch":
        dist.destroy_process_group()
        began = time.perf_counter()
        start(0)
        make_mesh()
        return time.perf_counter() - began
    world = polyrank.fake.current_fake_world()
    mesh = make_mesh()
    began = time.perf_counter()
    for _ in world.as_ranks([0, rank] * _MANY):
        mesh.get_coordinate()
    return (time.perf_counter() - began) / (2 * _MANY)


if simulator == "polyrank":
    polyrank.install()
began = time.perf_counter()
start(rank)
started = time.perf_counter()
if work == "start":
    print(started - began)
elif work == "mesh":
    make_mesh()
    print(time.perf_counter() - started)
else:
    print(step() if work == "step" else become_another())
