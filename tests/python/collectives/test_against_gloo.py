"""The same calls in 4 real gloo processes and in lockstep: each rank gets the same."""

from __future__ import annotations

from collections.abc import Iterator

import polyrank
import pytest
from collectives.comparison import differences, run_in_lockstep
from collectives.gloo_processes import Results, is_refused, run_all_ranks
from collectives.memory_orders import MEMORY_ORDERS
from collectives.programs import PROGRAMS, REFUSED_BY_SOME, WORLD_SIZE, Groups, make_groups

ALL_PROGRAMS = PROGRAMS | MEMORY_ORDERS


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_all_ranks(tmp_path_factory.mktemp("gloo"), "programs", WORLD_SIZE)


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with polyrank.lockstep(world_size=WORLD_SIZE):
        yield make_groups()


@pytest.mark.parametrize("name", ALL_PROGRAMS)
def test_each_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], groups: Groups
) -> None:
    if is_refused(name, gloo_results):
        pytest.skip(f"gloo refuses it in torch {REFUSED_BY_SOME[name]}")
    tensors = run_in_lockstep(ALL_PROGRAMS[name], groups)
    assert not differences(tensors, [of_rank[name] for of_rank in gloo_results])
