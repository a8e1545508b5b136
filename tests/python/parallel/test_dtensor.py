"""The same DTensor programs in 4 real gloo processes and in lockstep: each rank gets the same."""

from __future__ import annotations

import warnings

import polyrank
import pytest
import torch
from collectives.gloo_processes import Results, run_all_ranks
from parallel.dtensor_programs import PROGRAMS, WORLD_SIZE, mesh_of, numbers
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.utils._debug_mode import DebugMode


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_all_ranks(tmp_path_factory.mktemp("gloo"), "parallel.dtensor_programs", WORLD_SIZE)


def on_rank(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    return tensor.on_rank(rank) if isinstance(tensor, polyrank.LocalTensor) else tensor


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], world4: None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = PROGRAMS[name](polyrank.rank_map)
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        assert len(tensors) == len(gloo_results[0][name]) > 0
        for rank in range(WORLD_SIZE):
            for i, expected in enumerate(gloo_results[rank][name]):
                got = on_rank(tensors[i].detach(), rank)
                assert got.shape == expected.shape, f"rank {rank}, tensor {i}"
                torch.testing.assert_close(got, expected, msg=f"rank {rank}, tensor {i}")


@pytest.mark.parametrize("target", [Replicate(), Shard(0), Shard(1)])
def test_a_partial_average_becomes_the_average(target: Replicate | Shard, world4: None) -> None:
    # Gloo has no average.
    mesh = mesh_of(4)
    local = polyrank.rank_map(lambda rank: torch.full((5, 3), float(rank)))
    result = DTensor.from_local(local, mesh, [Partial("avg")]).redistribute(mesh, [target])
    assert torch.equal(
        polyrank.reconcile(result.full_tensor()), torch.full((5, 3), 1.5).reconcile()
    )


def test_replicas_share_one_tensor(world4: None) -> None:
    tensor = distribute_tensor(numbers(8, 4), mesh_of(2, 2), [Replicate(), Shard(0)])
    assert len(tensor.to_local().cohorts()) == 2
    assert len(tensor.full_tensor().cohorts()) == 1


def test_debug_mode_sees_operators_once(world4: None) -> None:
    mesh = mesh_of(4)
    x = distribute_tensor(numbers(8, 4), mesh, [Shard(0)])
    with DebugMode() as debug:
        (x + 1).redistribute(mesh, [Replicate()])
    assert debug.debug_string().count("aten::add.Tensor(t: f32[2, 4], 1)") == 1
    assert debug.debug_string().count("all_gather_into_tensor") == 1
