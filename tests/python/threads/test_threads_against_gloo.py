"""The same calls in gloo's processes, in ours and in threads: each rank gets the same."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import polyrank
import pytest
import torch
from collectives.comparison import same_bits
from collectives.gloo_processes import Results, is_refused, run_all_ranks, suite_of
from collectives.programs import WORLD_SIZE

WORLD_SIZES = {
    "programs": WORLD_SIZE,
    "quick": 3,
    "parallel.dtensor_programs": 4,
    "threads.own_state_programs": 4,
}
# Bit for bit, except for sums of floats.
ROUNDED_IN_ANOTHER_ORDER = {"parallel.dtensor_programs"}


def run_suite(name: str, world_size: int) -> dict[str, list[torch.Tensor]]:
    """One rank's results of all programs of a suite."""
    rank = torch.distributed.get_rank()
    suite = suite_of(name, world_size)
    groups = suite.make_groups()
    return {
        program_name: program(lambda f: f(rank), groups)
        for program_name, program in suite.programs.items()
    }


@pytest.fixture(scope="module")
def results_of_gloo(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, int], list[Results]]:
    @functools.cache
    def run(suite: str, world_size: int) -> list[Results]:
        return run_all_ranks(tmp_path_factory.mktemp("gloo"), suite, world_size)

    return run


def is_same(suite: str, got: torch.Tensor, of_gloo: torch.Tensor) -> bool:
    if suite not in ROUNDED_IN_ANOTHER_ORDER:
        return same_bits(got, of_gloo)
    return got.shape == of_gloo.shape and torch.allclose(got, of_gloo, atol=1e-6)


WORLDS = {
    "threads": {"schedule": "in_turn"},
    "threads at random": {"schedule": "random", "seed": 5},
    "processes": {"world": "processes"},
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("suite", WORLD_SIZES)
def test_each_rank_gets_what_gloo_gives(
    suite: str, world: str, results_of_gloo: Callable[[str, int], list[Results]]
) -> None:
    world_size = WORLD_SIZES[suite]
    expected = results_of_gloo(suite, world_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = polyrank.run_ranks(run_suite, world_size, suite, world_size, **WORLDS[world])
    found = [
        f"rank {rank}, {name}, tensor {i}: {got} != {of_gloo}"
        for rank in range(world_size)
        for name, of_rank in results[rank].items()
        if not is_refused(name, expected)
        for i, (got, of_gloo) in enumerate(zip(of_rank, expected[rank][name], strict=True))
        if not is_same(suite, got, of_gloo)
    ]
    assert not found, "\n".join(found[:20])
