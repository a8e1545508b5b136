"""Each rank of a fake world gets what real ranks get that all hold the same."""

from __future__ import annotations

from collections.abc import Iterator

import polyrank
import pytest
from collectives.gloo_processes import Results, run_all_ranks
from collectives.programs import Groups, make_groups
from fake.equal_ranks import PROGRAMS, WORLD_SIZE


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_all_ranks(tmp_path_factory.mktemp("gloo"), "fake.equal_ranks", WORLD_SIZE)


@pytest.fixture(scope="module", params=range(WORLD_SIZE))
def rank_and_groups(request: pytest.FixtureRequest) -> Iterator[tuple[int, Groups]]:
    with polyrank.fake_world(WORLD_SIZE, request.param, values="refuse"):
        yield request.param, make_groups()


@pytest.mark.parametrize("name", PROGRAMS)
def test_this_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], rank_and_groups: tuple[int, Groups]
) -> None:
    rank, groups = rank_and_groups
    got = PROGRAMS[name](lambda f: f(rank), groups)
    expected = gloo_results[rank][name]
    assert [(t.dtype, t.tolist()) for t in got] == [(t.dtype, t.tolist()) for t in expected]
