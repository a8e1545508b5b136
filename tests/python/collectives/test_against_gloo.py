"""The same calls in 4 real gloo processes and in lockstep: each rank gets the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import polyrank
import pytest
import torch
from collectives.gloo_processes import Results, run_all_ranks
from collectives.programs import PROGRAMS, WORLD_SIZE, Groups, make_groups


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_all_ranks(tmp_path_factory.mktemp("gloo"), "collectives.programs")


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with polyrank.lockstep(world_size=WORLD_SIZE):
        yield make_groups()


def on_rank(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    return tensor.on_rank(rank) if isinstance(tensor, polyrank.LocalTensor) else tensor


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], groups: Groups
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = PROGRAMS[name](polyrank.rank_map, groups)
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        for rank in range(WORLD_SIZE):
            for i, expected in enumerate(gloo_results[rank][name]):
                got = on_rank(tensors[i], rank)
                assert same_bits(got, expected), f"rank {rank}, tensor {i}: {got} != {expected}"
