"""Initialisation on meta, state dicts and checkpoints, in real processes and in lockstep.

`CHECKPOINTS` in the environment is a folder that both share: each saves there, under its own name,
and loads what the other saved.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from collectives.programs import Make, Program, Suite
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils import _pytree as pytree

WORLD_SIZE = 4
FOLDER = "CHECKPOINTS"

Tensors = list[torch.Tensor]

PROGRAMS: dict[str, Program] = {}


class Net(nn.Module):
    """Sizes that divide by the ranks and sizes that do not, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(10, 8)
        self.norm = nn.BatchNorm1d(8)
        self.down = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.norm(self.up(x).relu()))


def mesh_of(*shape: int) -> DeviceMesh:
    return init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp")[: len(shape)])


def shard(net: Net, mesh: DeviceMesh) -> Net:
    for layer in (net.up, net.norm, net.down):
        fully_shard(layer, mesh=mesh)
    return fully_shard(net, mesh=mesh)


def both(net: Net) -> Net:
    mesh = mesh_of(2, 2)
    parallelize_module(net, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
    for layer in (net.up, net.down):
        fully_shard(layer, mesh=mesh["dp"])
    return net


def make_net(seed: int) -> Net:
    torch.manual_seed(seed)
    return Net()


def make_trained(make: Make, seed: int, num_steps: int = 1) -> tuple[Net, torch.optim.Optimizer]:
    """A sharded net, its optimizer, and state that the steps made.

    Two ranks have gradients, so that sums over ranks have the same bits in any order.
    """
    counts = make(lambda rank: torch.tensor(float(rank < 2)))
    net = shard(make_net(seed), mesh_of(dist.get_world_size()))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for step in range(num_steps):
        x = make(lambda rank, s=step: torch.arange(60.0).reshape(6, 10).sin() * (rank + 1 + s))
        (net(x).square().mean() * counts).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net, optimizer


def leaves(state: Any) -> Tensors:
    """All numbers and tensors in a state dict, as this rank has them."""
    result: Tensors = []
    for leaf in pytree.tree_leaves(state):
        if isinstance(leaf, DTensor):
            result += [leaf.to_local().detach(), leaf.full_tensor().detach()]
        elif isinstance(leaf, torch.Tensor):
            result.append(leaf.detach().clone())
        elif isinstance(leaf, int | float):
            result.append(torch.tensor(leaf))
    return result


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = lambda make, groups: function(make)
    return function


# --- Meta ---------------------------------------------------------------------------------------


def init_on_meta(make: Make, parallelize: Any) -> Tensors:
    with torch.device("meta"):
        net = Net()
    net = parallelize(net)
    net.to_empty(device="cpu")
    torch.manual_seed(11)
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    nn.init.trunc_normal_(net.down.weight, std=0.02)
    return leaves([*net.parameters(), *net.buffers()])


PROGRAMS["init_on_meta_fully_shard"] = lambda make, _: init_on_meta(
    make, lambda net: shard(net, mesh_of(4))
)
PROGRAMS["init_on_meta_hsdp"] = lambda make, _: init_on_meta(
    make, lambda net: shard(net, mesh_of(2, 2))
)
PROGRAMS["init_on_meta_both"] = lambda make, _: init_on_meta(make, both)


@program
def load_into_meta(make: Make) -> Tensors:
    full = {name: tensor + 1 for name, tensor in make_net(5).state_dict().items()}
    with torch.device("meta"):
        net = Net()
    net = shard(net, mesh_of(4))
    state = {
        name: distribute_tensor(full[name], p.device_mesh, p.placements)
        if isinstance(p, DTensor)
        else full[name]
        for name, p in net.state_dict().items()
    }
    net.load_state_dict(state, assign=True)
    return leaves(net.state_dict())


# --- State dicts --------------------------------------------------------------------------------


@program
def sharded_state_dicts(make: Make) -> Tensors:
    return leaves(get_state_dict(*make_trained(make, 0)))


@program
def full_state_dicts(make: Make) -> Tensors:
    net, optimizer = make_trained(make, 0)
    options = StateDictOptions(full_state_dict=True)
    model_state = get_model_state_dict(net, options=options)
    return leaves([model_state, get_optimizer_state_dict(net, optimizer, options=options)])


@program
def flattened_optimizer_state_dict(make: Make) -> Tensors:
    net, optimizer = make_trained(make, 0)
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    return leaves(get_optimizer_state_dict(net, optimizer, options=options))


@program
def state_dicts_of_both(make: Make) -> Tensors:
    net = both(make_net(3))
    return leaves(
        [
            get_model_state_dict(net),
            get_model_state_dict(net, options=StateDictOptions(full_state_dict=True)),
        ]
    )


@program
def set_full_state_dict(make: Make) -> Tensors:
    net, optimizer = make_trained(make, 0)
    options = StateDictOptions(full_state_dict=True)
    model_state, optimizer_state = get_state_dict(net, optimizer, options=options)
    other, other_optimizer = make_trained(make, 1, num_steps=2)
    set_state_dict(
        other,
        other_optimizer,
        model_state_dict=model_state,
        optim_state_dict=optimizer_state,
        options=options,
    )
    return leaves([get_state_dict(other, other_optimizer)])


@program
def set_state_dict_broadcast_from_rank_0(make: Make) -> Tensors:
    full = {name: tensor + 1 for name, tensor in make_net(5).state_dict().items()}
    net, _ = make_trained(make, 1)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(net, full, options=options)
    return leaves(get_model_state_dict(net))


# --- Checkpoints --------------------------------------------------------------------------------


def folder(name: str) -> str:
    return str(Path(os.environ[FOLDER]) / name)


def state_to_save(make: Make) -> dict[str, Any]:
    net, optimizer = make_trained(make, 0)
    model_state, optimizer_state = get_state_dict(net, optimizer)
    mesh = mesh_of(2, 2)
    return {
        "model": model_state,
        "optimizer": optimizer_state,
        "uneven": distribute_tensor(torch.arange(35.0).reshape(7, 5), mesh, [Shard(0), Shard(0)]),
        "replicated": distribute_tensor(torch.arange(4.0), mesh, [Replicate(), Shard(0)]),
        "plain": torch.arange(3),
        "step": 17,
        "texts": ["a", "b"],
    }


def save(make: Make, name: str) -> Tensors:
    state = state_to_save(make)
    dcp.save(state, checkpoint_id=folder(name))
    return leaves(state)


def load(make: Make, name: str) -> Tensors:
    net, optimizer = make_trained(make, 1, num_steps=2)
    model_state, optimizer_state = get_state_dict(net, optimizer)
    state: dict[str, Any] = {
        "model": model_state,
        "optimizer": optimizer_state,
        "uneven": distribute_tensor(torch.zeros(7, 5), mesh_of(4), [Shard(1)]),
        "replicated": distribute_tensor(torch.zeros(4), mesh_of(4), [Replicate()]),
        "plain": torch.zeros(3, dtype=torch.long),
        "step": 0,
        "texts": ["", ""],
    }
    dcp.load(state, checkpoint_id=folder(name))
    assert state["texts"] == ["a", "b"]
    set_state_dict(
        net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
    return leaves([state, get_state_dict(net, optimizer)])


@program
def save_from_processes(make: Make) -> Tensors:
    return save(make, "processes")


@program
def load_what_lockstep_saved(make: Make) -> Tensors:
    return load(make, "lockstep")


SUITE = Suite(PROGRAMS, dict)
