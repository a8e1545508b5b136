"""4x4 add and view: what one operator costs from Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polyrank
import torch
from figure import Figure
from timing import Case, Effort, shortest_seconds
from torch.distributed import _local_tensor as pytorch
from worlds import World, mode_world, plain_world

_DISTINCT_RANKS = (1, 8, 64, 512)
_REPLICATED_RANKS = (8, 512, 65_536, 1_048_576)
_STATEMENTS = {"add": "torch.add(a, b)", "view": "a.view(16)"}
# In plain torch.add calls.
_BUDGETS = {("add", 8): 6.0, ("view", 8): 4.0}
_REPLICATED_BUDGET = 2.0

PLAIN_ADD = "plain add"


def plain_add_case() -> Case:
    """The unit of all ratios."""
    names = {"torch": torch, "a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    return Case(PLAIN_ADD, _STATEMENTS["add"], plain_world(names))


def operator_figures(effort: Effort) -> Iterator[Figure]:
    cases = [plain_add_case()]
    for num_ranks in _DISTINCT_RANKS:
        cases += _distinct_cases(num_ranks)
    cases += [_replicated_case(num_ranks) for num_ranks in _REPLICATED_RANKS]
    seconds = shortest_seconds(cases, effort)
    plain = seconds[PLAIN_ADD]
    yield Figure("operators", "plain torch.add, 4x4", plain, "seconds")
    for op in _STATEMENTS:
        for num_ranks in _DISTINCT_RANKS:
            yield Figure(
                "operators",
                f"4x4 {op}, distinct ranks",
                seconds[f"polyrank {op} {num_ranks}"],
                "seconds",
                num_ranks=num_ranks,
                base=plain,
                base_name="plain add",
                peer_value=seconds[f"pytorch {op} {num_ranks}"],
                budget=_BUDGETS.get((op, num_ranks)),
            )
    for num_ranks in _REPLICATED_RANKS:
        yield Figure(
            "operators",
            "4x4 add, replicated",
            seconds[f"replicated {num_ranks}"],
            "seconds",
            num_ranks=num_ranks,
            base=plain,
            base_name="plain add",
            budget=_REPLICATED_BUDGET,
        )


def _distinct_cases(num_ranks: int) -> Iterator[Case]:
    for op, statement in _STATEMENTS.items():
        mode = polyrank.LocalTensorMode(num_ranks)
        yield Case(f"polyrank {op} {num_ranks}", statement, _distinct_world(mode, num_ranks))
        peer = pytorch.LocalTensorMode(num_ranks)
        yield Case(f"pytorch {op} {num_ranks}", statement, _distinct_world(peer, num_ranks))


def _distinct_world(mode: Any, num_ranks: int) -> World:
    def make() -> torch.Tensor:
        tensor: torch.Tensor = mode.rank_map(lambda rank: torch.full((4, 4), float(rank)))
        return tensor

    return mode_world(mode, {"torch": torch, "a": make(), "b": make()})


def _replicated_case(num_ranks: int) -> Case:
    mode = polyrank.LocalTensorMode(num_ranks)
    with mode:
        names = {"torch": torch, "a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    return Case(f"replicated {num_ranks}", _STATEMENTS["add"], mode_world(mode, names))
