"""Layers of matrix products on distinct ranks, beside a C++ loop over the ranks.

Work A is made of small products, (32, 64) by (64, 64): what is measured is overhead. Work B is made
of (256, 512) by (512, 512): what is measured is whether ranks run side by side.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from figure import Figure, Skipped
from jax_devices import jax_seconds, why_not
from loops import run_loops
from timing import Case, Effort, shortest_seconds
from worlds import grouped_world, polyrank_lockstep, pytorch_lockstep

_SECTION = "works"
_NUM_LAYERS = 4
# rows, inner, columns; ranks
_WORKS = {
    "A": ((32, 64, 64), (2, 8, 32, 128, 512)),
    "B": ((256, 512, 512), (2, 8, 32, 128, 512)),
}
_ONE_THREAD_BUDGET = 1.15
_THREADS_BUDGET = 0.6
_SIMULATORS = {"polyrank": polyrank_lockstep, "pytorch": pytorch_lockstep}


def work_figures(effort: Effort, program: Path) -> Iterator[Figure | Skipped]:
    if not program.is_file():
        yield Skipped(_SECTION, f"{program} is not built; `make bench` builds it")
        return
    if (reason := why_not()) is not None:
        yield Skipped(_SECTION, reason)
    for work, (shape, rank_counts) in _WORKS.items():
        rows = run_loops(program, effort, *shape, *rank_counts)
        loops = {row["num_ranks"]: row["seconds"] for row in rows}
        for num_ranks in rank_counts:
            on_jax = jax_seconds("work", num_ranks, *shape)
            cases = [_case(simulator, shape, num_ranks) for simulator in _SIMULATORS]
            by_threads = {}
            for num_threads in sorted({1, polyrank.num_cohort_threads()}):
                with _cohort_threads(num_threads):
                    by_threads[num_threads] = shortest_seconds(cases, effort)
            for num_threads, seconds in by_threads.items():
                one = num_threads == 1
                yield Figure(
                    _SECTION,
                    f"work {work}, {num_threads} thread{'' if one else 's'}",
                    seconds["polyrank"],
                    "seconds",
                    num_ranks=num_ranks,
                    base=loops[num_ranks],
                    base_name="C++ loop",
                    peer_value=seconds["pytorch"],
                    jax_value=on_jax,
                    budget=_budget(work, one),
                )


def _budget(work: str, one_thread: bool) -> float | None:
    return {("A", True): _ONE_THREAD_BUDGET, ("B", False): _THREADS_BUDGET}.get((work, one_thread))


@contextlib.contextmanager
def _cohort_threads(num_threads: int) -> Iterator[None]:
    before = polyrank.num_cohort_threads()
    polyrank.set_num_cohort_threads(num_threads)
    yield
    polyrank.set_num_cohort_threads(before)


def _case(simulator: str, shape: tuple[int, ...], num_ranks: int) -> Case:
    rows, inner, columns = shape

    def run(x: torch.Tensor, w: torch.Tensor, total: torch.Tensor) -> None:
        for _ in range(_NUM_LAYERS):
            x = torch.relu(x @ w)
        dist.all_reduce(total)

    def names(mode: Any) -> dict[str, Any]:
        x = mode.rank_map(lambda _: torch.randn(rows, inner))
        w = mode.rank_map(lambda _: torch.randn(inner, columns))
        return {"run": run, "x": x, "w": w}

    return Case(
        simulator,
        "run(x, w, next(totals))",
        grouped_world(functools.partial(_SIMULATORS[simulator], num_ranks), names),
        # all_reduce makes its operand the same on all ranks, so each call needs a fresh one.
        setup="totals = iter([w.clone() for _ in range(count)])",
    )
