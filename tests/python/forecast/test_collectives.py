"""Collectives on a GPU without bytes take what the program gives them, and nothing beside."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist

SIZE = 1 << 20


def gpu(num_elements: int = SIZE) -> torch.Tensor:
    return torch.empty(num_elements, device="cuda")


CALLS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "all_reduce": lambda whole, part: dist.all_reduce(whole),
    "all_reduce_mean": lambda whole, part: dist.all_reduce(whole, op=dist.ReduceOp.AVG),
    "reduce": lambda whole, part: dist.reduce(whole, dst=1),
    "broadcast": lambda whole, part: dist.broadcast(whole, src=0),
    "all_gather": lambda whole, part: dist.all_gather_into_tensor(whole, part),
    "all_gather_list": lambda whole, part: dist.all_gather(list(whole.chunk(4)), part),
    "reduce_scatter": lambda whole, part: dist.reduce_scatter_tensor(part, whole),
    "scatter": lambda whole, part: dist.scatter(part, list(whole.chunk(4)), src=1),
    "gather": lambda whole, part: dist.gather(part, list(whole.chunk(4)), dst=1),
    "all_to_all": lambda whole, part: dist.all_to_all(list(whole.chunk(4)), list(whole.chunk(4))),
    "send": lambda whole, part: dist.send(whole, dst=0),
    "recv": lambda whole, part: dist.recv(whole, src=0),
    "barrier": lambda whole, part: dist.barrier(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_collective_takes_no_memory_of_its_own(name: str) -> None:
    with polyrank.forecast("dgx-h100", world_size=4, rank=1):
        whole, part = gpu(), gpu(SIZE // 4)
        CALLS[name](whole, part)  # a barrier keeps a tensor from its first time on
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        CALLS[name](whole, part)
        assert torch.cuda.max_memory_allocated() == before


def test_communicators_are_groups_that_launched_something() -> None:
    with polyrank.forecast("dgx-h100", world_size=8, rank=1) as f:
        groups = [dist.new_group([0, 1]), dist.new_group([1, 2]), dist.new_group([1])]
        dist.all_reduce(gpu(), group=groups[0])
        dist.all_reduce(gpu(), group=groups[0])
        dist.all_reduce(gpu(), group=groups[2])
    assert f.memory.num_communicators == 1
    assert f.memory.communicators == f.cluster.communicator_bytes(1)
