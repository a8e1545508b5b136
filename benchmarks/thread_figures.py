"""Ranks that are threads: a step on polyrank's, beside the threads of PyTorch's own tests."""

from __future__ import annotations

from collections.abc import Iterator

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_RANKS = (2, 8, 32, 128, 512)
_MULTITHREADED_RANKS = 128  # beyond that a run of PyTorch's takes minutes
_WORKS = {
    "work_a": "work A: 4 x relu(x @ w), all_reduce (64, 64)",
    "all_reduce": "all_reduce 16 KiB",
}
_BUDGET_SECONDS = {
    ("work_a", 8): 0.25e-3,
    ("work_a", 512): 20e-3,
    ("all_reduce", 512): 3e-3,
}


def thread_figures() -> Iterator[Figure | Skipped]:
    """Each figure in a process of its own."""
    for work, text in _WORKS.items():
        for num_ranks in _RANKS:
            yield Figure(
                "threads",
                text,
                run_probe("thread_ranks", "polyrank", work, str(num_ranks)),
                "seconds",
                num_ranks=num_ranks,
                budget=_BUDGET_SECONDS.get((work, num_ranks)),
            )
            if num_ranks > _MULTITHREADED_RANKS:
                continue
            try:
                theirs = run_probe("thread_ranks", "multithreaded", work, str(num_ranks))
            except ProbeError as error:
                yield Skipped("threads", f"PyTorch's threads at {num_ranks} ranks: {error}")
                continue
            yield Figure(
                "threads",
                "the same on MultiThreadedTestCase's threads",
                theirs,
                "seconds",
                num_ranks=num_ranks,
            )
