"""all_reduce of tensors that differ on all ranks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from figure import Figure
from operator_figures import PLAIN_ADD, plain_add_case
from timing import Case, Effort, shortest_seconds
from worlds import grouped_world, polyrank_lockstep, pytorch_lockstep

_NUM_RANKS = (8, 64, 512)
# float32
_SIZES = {"4x4": (4, 4), "16 KiB": (4096,)}
_SIMULATORS = {"polyrank": polyrank_lockstep, "pytorch": pytorch_lockstep}


def collective_figures(effort: Effort) -> Iterator[Figure]:
    cases = [plain_add_case()]
    for num_ranks in _NUM_RANKS:
        for size in _SIZES:
            cases += [_case(simulator, size, num_ranks) for simulator in _SIMULATORS]
    seconds = shortest_seconds(cases, effort)
    for size in _SIZES:
        for num_ranks in _NUM_RANKS:
            yield Figure(
                "collectives",
                f"all_reduce of {size}, distinct ranks",
                seconds[f"polyrank {size} {num_ranks}"],
                "seconds",
                num_ranks=num_ranks,
                base=seconds[PLAIN_ADD],
                base_name="plain add",
                peer_value=seconds[f"pytorch {size} {num_ranks}"],
            )


def _case(simulator: str, size: str, num_ranks: int) -> Case:
    def names(mode: Any) -> dict[str, Any]:
        x = mode.rank_map(lambda rank: torch.full(_SIZES[size], float(rank)))
        return {"all_reduce": dist.all_reduce, "x": x}

    lockstep = functools.partial(_SIMULATORS[simulator], num_ranks)
    return Case(
        f"{simulator} {size} {num_ranks}",
        "all_reduce(next(operands))",
        grouped_world(lockstep, names),
        # all_reduce makes its operand the same on all ranks, so each call needs a fresh one.
        setup="operands = iter([x.clone() for _ in range(count)])",
    )
