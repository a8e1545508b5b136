"""What recording a collective adds to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from figure import Figure
from timing import Case, Effort, shortest_seconds

_NUM_RANKS = (8, 4096, 1_048_576)
_BUDGET_SECONDS = 2e-6
_TRACES: dict[str, Any] = {
    "no trace": contextlib.nullcontext,
    "trace": lambda: polyrank.trace(source=False),
    "trace with source": polyrank.trace,
}


def trace_figures(effort: Effort) -> Iterator[Figure]:
    cases = [_case(trace, num_ranks) for trace in _TRACES for num_ranks in _NUM_RANKS]
    seconds = shortest_seconds(cases, effort)
    for trace in ("trace", "trace with source"):
        for num_ranks in _NUM_RANKS:
            yield Figure(
                "trace",
                f"what a {trace} adds to an all_reduce",
                seconds[f"{trace} {num_ranks}"] - seconds[f"no trace {num_ranks}"],
                "seconds",
                num_ranks=num_ranks,
                budget=_BUDGET_SECONDS if trace == "trace" else None,
            )


def _case(trace: str, num_ranks: int) -> Case:
    @contextlib.contextmanager
    def world() -> Iterator[dict[str, Any]]:
        with polyrank.fake_world(num_ranks, rank=num_ranks - 1), _TRACES[trace]():
            yield {"all_reduce": dist.all_reduce, "x": torch.ones(4)}

    return Case(f"{trace} {num_ranks}", "all_reduce(x)", world)
