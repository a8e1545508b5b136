"""Each rank of a fake world gets what real ranks get that all hold the same."""

from __future__ import annotations

import polyrank
import pytest
from collectives.gloo_processes import Results, run_all_ranks
from collectives.programs import make_groups
from fake.equal_ranks import PROGRAMS, WORLD_SIZE


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_all_ranks(tmp_path_factory.mktemp("gloo"), "fake.equal_ranks", WORLD_SIZE)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("rank", range(WORLD_SIZE))
def test_this_rank_gets_what_gloo_gives(rank: int, name: str, gloo_results: list[Results]) -> None:
    with polyrank.fake_world(WORLD_SIZE, rank, values="refuse"):
        got = PROGRAMS[name](lambda f: f(rank), make_groups())
    expected = gloo_results[rank][name]
    assert [(t.dtype, t.tolist()) for t in got] == [(t.dtype, t.tolist()) for t in expected]
