"""docs/differences.md is true: each program does in each world what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from collectives.gloo_processes import run_all_ranks
from oracle.differences_page import WORLD_SIZE, Difference, Outcome, as_numbers, differences
from oracle.rank_by_rank import value_on_rank
from oracle.simulator import in_simulator_on_rank, simulator
from torch.utils import _pytree as pytree

DIFFERENCES = differences()
each_difference = pytest.mark.parametrize("entry", DIFFERENCES, ids=lambda entry: entry.title)


def on_all_ranks(value: Any, root: int) -> Any:
    return value


def in_polyrank(entry: Difference) -> Outcome:
    zero = torch.zeros(())
    with polyrank.lockstep(world_size=WORLD_SIZE) as mode:
        try:
            result = entry.run(dist.get_rank(), zero, on_all_ranks)
        except (Exception, polyrank.DivergenceError) as error:  # noqa: BLE001 (whatever the page names)
            return type(error).__name__
        with mode.disable():
            return [
                as_numbers(pytree.tree_map(lambda leaf, r=rank: value_on_rank(leaf, r), result))
                for rank in range(WORLD_SIZE)
            ]


def in_local_tensor_mode(entry: Difference) -> Outcome:
    zero = torch.zeros(())
    with simulator(WORLD_SIZE) as rank:
        try:
            result = entry.run(rank, zero, on_all_ranks)
        except (Exception, polyrank.DivergenceError) as error:  # noqa: BLE001 (whatever the page names)
            return type(error).__name__
    return [as_numbers(in_simulator_on_rank(result, rank)) for rank in range(WORLD_SIZE)]


@each_difference
def test_polyrank_does_what_the_page_says(entry: Difference) -> None:
    assert in_polyrank(entry) == entry.outcome("polyrank")


@each_difference
def test_local_tensor_mode_does_what_the_page_says(entry: Difference) -> None:
    outcome, says = in_local_tensor_mode(entry), entry.outcome_in_simulator()
    if says == "an error":  # which one depends on memory that it reads before it is written
        assert isinstance(outcome, str)
    else:
        assert outcome == says


def test_gloo_processes_do_what_the_page_says(tmp_path: Path) -> None:
    results = run_all_ranks(tmp_path, "oracle.differences_page", WORLD_SIZE)
    found = {}
    for entry in DIFFERENCES:
        if entry.runs_in_processes:
            outcome: Outcome = [of_rank[entry.title] for of_rank in results]
            says = entry.outcome("processes")
            found[entry.title] = outcome[0] if isinstance(says, str) else outcome
    assert found == {e.title: e.outcome("processes") for e in DIFFERENCES if e.runs_in_processes}


@each_difference
def test_entry_is_a_difference(entry: Difference) -> None:
    assert entry.outcome("polyrank") != entry.outcome("LocalTensorMode")
    if "polyrank" in entry.outcomes and entry.runs_in_processes:
        assert "Error" in entry.outcomes["polyrank"], "where polyrank differs, it says so itself"


def test_every_block_of_the_page_is_an_entry() -> None:
    from oracle.differences_page import PAGE

    assert len(DIFFERENCES) == PAGE.read_text().count("```python") > 40
    assert len({entry.title for entry in DIFFERENCES}) == len(DIFFERENCES)
