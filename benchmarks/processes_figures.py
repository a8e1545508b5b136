"""Ranks that are processes, forked off one launcher: collectives, start and memory, beside threads and gloo."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_SECTION = "processes"
_RANKS = (2, 8, 64)
_WORKS = {
    "all_reduce": "all_reduce 16 KiB",
    "large": "all_reduce 64 MiB",
    "work_a": "work A: 4 x relu(x @ w), all_reduce (64, 64)",
}
_BUDGET_SECONDS = {
    ("all_reduce", 8): 0.06e-3,
    ("all_reduce", 64): 0.6e-3,
    ("work_a", 8): 0.30e-3,
    ("work_a", 64): 2.5e-3,
}
_OTHERS = {"polyrank": "rank threads", "gloo": "gloo's processes"}
_MOST_RANKS = {"polyrank": 64, "gloo": 8}  # beyond that a run takes minutes
_BUDGET_BYTES_OF_A_RANK = 12 * 2.0**20


def processes_figures() -> Iterator[Figure | Skipped]:
    """Each figure in a process of its own."""
    for work, text in _WORKS.items():
        for num_ranks in _RANKS:
            yield from _step_figures(work, text, num_ranks)
    for num_ranks in _RANKS:
        for quantity, text, budget in (
            ("seconds", "start of `polyrank run`, until all have met", None),
            ("bytes", "private memory of a rank after a training step", _BUDGET_BYTES_OF_A_RANK),
        ):
            yield Figure(
                _SECTION,
                text,
                run_probe("process_start", quantity, str(num_ranks)),
                "seconds" if quantity == "seconds" else "bytes",
                num_ranks=num_ranks,
                budget=budget,
            )


def _step_figures(work: str, text: str, num_ranks: int) -> Iterator[Figure | Skipped]:
    arguments = work, str(num_ranks)
    yield Figure(
        _SECTION,
        text,
        run_probe("thread_ranks", "processes", *arguments),
        "seconds",
        num_ranks=num_ranks,
        budget=_BUDGET_SECONDS.get((work, num_ranks)),
    )
    for world, name in _OTHERS.items():
        if num_ranks > _MOST_RANKS[world] or (work == "large" and num_ranks > _MOST_RANKS["gloo"]):
            continue
        try:
            theirs = run_probe("thread_ranks", world, *arguments)
        except ProbeError as error:
            yield Skipped(_SECTION, f"{name} at {num_ranks} ranks: {error}")
            continue
        yield Figure(_SECTION, f"the same on {name}", theirs, "seconds", num_ranks=num_ranks)
