"""Parts of torch that act by their own rank, start processes, make groups or compile functions."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from polyrank import DivergenceError, UsageError
from torch import nn
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer

World = polyrank.LocalTensorMode


def _shards() -> object:
    placements = [f"rank:{rank}/cpu" for rank in range(4)]
    return sharded_tensor.rand(ChunkShardingSpec(dim=0, placements=placements), 8, 2)  # type: ignore[arg-type]


PARTING: dict[str, Callable[[nn.Module], object]] = {
    "sharded tensor": lambda _: _shards(),
    "optimizer": lambda m: ZeroRedundancyOptimizer(m.parameters(), torch.optim.Adam),
    "FSDP1": lambda m: FullyShardedDataParallel(m, device_id=torch.device("cpu")),
}


@pytest.mark.parametrize("how", PARTING)
def test_what_takes_a_rank_s_part_does_not_take_rank_0_s_for_all(how: str, lockstep: World) -> None:
    with pytest.raises(DivergenceError):
        PARTING[how](nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)))


@pytest.mark.parametrize("backend", ["gloo", "nccl", "cpu:gloo,cuda:nccl"])
def test_a_group_of_any_backend_is_a_lockstep_group(backend: str, lockstep: World) -> None:
    for group in (
        dist.new_group(backend=backend),
        dist.new_group([0, 1], backend=backend),
        dist.split_group(split_ranks=[[0, 1], [2, 3]], backend=backend),
        dist.new_subgroups(2, backend=backend)[0],
    ):
        x = torch.ones(1) * dist.get_rank()
        dist.all_reduce(x, group=group)
        assert x.on_rank(0).item() == sum(range(group.size()))  # type: ignore[attr-defined]


def test_a_mesh_may_override_its_backends(lockstep: World) -> None:
    mesh = init_device_mesh(
        "cpu", (2, 2), mesh_dim_names=("dp", "tp"), backend_override={"dp": "gloo", "tp": "gloo"}
    )
    x = torch.ones(1) * dist.get_rank()
    dist.all_reduce(x, group=mesh.get_group("tp"))
    assert [x.on_rank(r).item() for r in range(4)] == [1, 1, 5, 5]  # type: ignore[attr-defined]


def _note(rank: Any, seen: list[Any], world_size: int) -> None:
    x = torch.ones(1) * rank
    dist.all_reduce(x)
    seen.append((rank, x, world_size))


def test_spawned_processes_are_the_ranks_that_are_there(
    lockstep: World,
) -> None:
    seen: list[Any] = []
    assert mp.spawn(_note, args=(seen, 4), nprocs=4) is None
    assert mp.start_processes(_note, args=(seen, 4), nprocs=4, join=False).join()
    for rank, x, _ in seen:
        assert [rank.node._local_ints[r] for r in range(4)] == [0, 1, 2, 3]
        assert x.reconcile().item() == 6
    with pytest.raises(UsageError, match="spawns 3 processes"):
        mp.spawn(_note, args=(seen, 3), nprocs=3)
    assert len(seen) == 2


def test_other_processes_are_processes(lockstep: World) -> None:
    process = multiprocessing.get_context("fork").Process(target=os.getpid)
    process.start()
    process.join(60)
    assert process.exitcode == 0


SCRIPTED: dict[str, Any] = {}


def scripted(function: Callable[..., Any]) -> Callable[..., Any]:
    SCRIPTED[function.__name__] = function
    return function


@scripted
def tensor_inside(x: torch.Tensor) -> torch.Tensor:
    return x + torch.tensor(1.0)


@scripted
def as_tensor_inside(x: torch.Tensor) -> torch.Tensor:
    return x + torch.as_tensor(2)


@scripted
def pieces_inside(x: torch.Tensor) -> torch.Tensor:
    return torch.chunk(x, 2)[0] + torch.unbind(x)[1] + x.chunk(2)[1]


@scripted
def factories_inside(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, torch.full([2], 3.0), torch.zeros_like(x)])


@pytest.mark.parametrize("name", SCRIPTED)
def test_functions_are_scripted_in_a_mode(name: str, lockstep: World) -> None:
    function = SCRIPTED[name]
    x = torch.arange(2.0) * dist.get_rank()
    got, expected = torch.jit.script(function)(x), function(x)
    for rank in range(4):
        assert torch.equal(got.on_rank(rank), expected.on_rank(rank))


def test_cohorts_say_what_they_hold(lockstep: World) -> None:
    cohorts = (torch.zeros(1) + dist.get_rank() // 2).cohorts()  # type: ignore[attr-defined]
    assert str(cohorts) == "[Cohort(ranks 0-1: tensor([0.])), Cohort(ranks 2-3: tensor([1.]))]"


def test_fully_shard_without_install_does_not_give_all_ranks_one_shard() -> None:
    with polyrank.lockstep(4), pytest.raises(polyrank.DivergenceError, match="0 on rank 0, 1 on"):
        fully_shard(torch.nn.Linear(4, 8))
