"""Collectives on plain tensors, which hold the same on all ranks."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh


def test_equal_values_are_reduced_like_any() -> None:
    plain = torch.tensor(256.0)
    with polyrank.lockstep(world_size=2):
        dist.all_reduce(plain)
    assert type(plain) is torch.Tensor
    assert plain.item() == 512


def test_a_plain_output_is_written_once_if_all_ranks_get_the_same() -> None:
    out = torch.zeros(2)
    outs = [torch.zeros(1), torch.zeros(1)]
    with polyrank.lockstep(world_size=2):
        t = polyrank.rank_map(lambda rank: torch.tensor([float(rank)]))
        dist.all_gather_into_tensor(out, t)
        dist.all_gather(outs, t)
    assert out.tolist() == [0, 1]
    assert [t.item() for t in outs] == [0, 1]


def test_an_output_that_ranks_would_hold_differently_is_an_error() -> None:
    out, plain = torch.zeros(1), torch.ones(1)
    with polyrank.lockstep(world_size=2):
        t = polyrank.rank_map(lambda rank: torch.tensor([float(rank), 1.0]))
        with pytest.raises(polyrank.DivergenceError, match="create it inside the mode"):
            dist.reduce_scatter_tensor(out, t)
        with pytest.raises(polyrank.DivergenceError, match="differ between ranks"):
            dist.all_reduce(plain, group=dist.new_group([0]))
    assert out.item() == 0 and plain.item() == 1


def test_a_broadcast_leaves_it_as_it_is() -> None:
    plain = torch.tensor([3.0])
    with polyrank.lockstep(world_size=4):
        dist.broadcast(plain, src=2)
        dist.broadcast(plain, src=0, group=dist.new_group([0, 1]))
    assert plain.item() == 3


def test_all_groups_of_a_mesh_dimension_give_the_same() -> None:
    plain = torch.tensor([3.0])
    with polyrank.lockstep(world_size=4):
        mesh = init_device_mesh("cpu", (2, 2))
        dist.all_reduce(plain, group=mesh.get_group(0))
    assert plain.item() == 6


def test_functional_results_are_local_tensors() -> None:
    plain = torch.ones(2)
    with polyrank.lockstep(world_size=2):
        name = dist.group.WORLD.group_name
        result = torch.ops._c10d_functional.all_reduce(plain, "sum", name)
        assert isinstance(result, polyrank.LocalTensor)
        assert result.on_rank(1).tolist() == [2, 2]
    assert plain.tolist() == [1, 1]
