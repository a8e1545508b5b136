"""The same calls in real gloo processes and in threads: each rank gets the same, bit for bit."""

from __future__ import annotations

import warnings
from pathlib import Path

import polyrank
import pytest
import torch
from collectives.comparison import same_bits
from collectives.gloo_processes import Results, run_all_ranks, suite_of
from collectives.programs import WORLD_SIZE

# gloo has no such thing; the threads world has.
WORLD_SIZES = {"programs": WORLD_SIZE, "quick": 3}


def run_suite(name: str, world_size: int) -> Results:
    """One rank's results of all programs of a suite."""
    rank = torch.distributed.get_rank()
    suite = suite_of(name, world_size)
    groups = suite.make_groups()
    return {
        program_name: program(lambda f: f(rank), groups)
        for program_name, program in suite.programs.items()
    }


@pytest.mark.parametrize("schedule", ["in_turn", "random"])
@pytest.mark.parametrize("suite", WORLD_SIZES)
def test_each_rank_gets_what_gloo_gives(suite: str, schedule: str, tmp_path: Path) -> None:
    world_size = WORLD_SIZES[suite]
    expected = run_all_ranks(tmp_path, suite, world_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = polyrank.run_ranks(
            run_suite, world_size, suite, world_size, schedule=schedule, seed=5
        )
    found = [
        f"rank {rank}, {name}, tensor {i}: {got} != {of_gloo}"
        for rank in range(world_size)
        for name, of_rank in expected[rank].items()
        for i, (got, of_gloo) in enumerate(zip(results[rank][name], of_rank, strict=True))
        if not same_bits(got, of_gloo)
    ]
    assert not found, "\n".join(found[:20])
