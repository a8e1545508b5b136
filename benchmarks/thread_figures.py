"""Ranks that are threads: what steps, starting and keeping them cost, beside PyTorch's own ways."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from figure import Figure, Skipped
from probe import ProbeError, run_probe

_SECTION = "threads"
_RANKS = (2, 8, 32, 128, 512)
# Beyond that a run takes minutes, or more memory than a laptop has.
_MOST_RANKS = {"multithreaded": 128, "gloo": 8}
_NAMES = {"multithreaded": "MultiThreadedTestCase's threads", "gloo": "gloo's processes"}
_WORKS = {
    "work_a": "work A: 4 x relu(x @ w), all_reduce (64, 64)",
    "all_reduce": "all_reduce 16 KiB",
}
_BUDGET_SECONDS = {
    ("work_a", 8): 0.25e-3,
    ("work_a", 512): 20e-3,
    ("all_reduce", 512): 3e-3,
}
_QUANTITIES = {
    "seconds": "start, until all have met",
    "bytes": "memory of a rank after a step",
}
_BUDGET_BYTES_OF_A_RANK = 2 * 2.0**20
_SOAK_RANKS = 4
_SOAK_BUDGET_BYTES = 2.0**20  # what the allocator may take more of


def thread_figures(
    soak: Path, num_messages: int, num_collectives: int
) -> Iterator[Figure | Skipped]:
    """Each figure in a process of its own."""
    for work in _WORKS:
        for num_ranks in _RANKS:
            yield from _step_figures(work, num_ranks)
    for num_ranks in _RANKS:
        yield from _start_figures(num_ranks)
    if soak.is_file():
        yield from _soak_figures(soak, num_messages, num_collectives)
    else:
        yield Skipped(_SECTION, f"{soak} is not built; `make bench` builds it")


def _step_figures(work: str, num_ranks: int) -> Iterator[Figure | Skipped]:
    yield Figure(
        _SECTION,
        _WORKS[work],
        run_probe("thread_ranks", "polyrank", work, str(num_ranks)),
        "seconds",
        num_ranks=num_ranks,
        budget=_BUDGET_SECONDS.get((work, num_ranks)),
    )
    for world, most_ranks in _MOST_RANKS.items():
        if num_ranks > most_ranks:
            continue
        try:
            theirs = run_probe("thread_ranks", world, work, str(num_ranks))
        except ProbeError as error:
            yield Skipped(_SECTION, f"{_NAMES[world]} at {num_ranks} ranks: {error}")
            continue
        yield Figure(
            _SECTION, f"the same on {_NAMES[world]}", theirs, "seconds", num_ranks=num_ranks
        )


def _start_figures(num_ranks: int) -> Iterator[Figure]:
    for quantity, text in _QUANTITIES.items():
        is_memory = quantity == "bytes"
        yield Figure(
            _SECTION,
            text,
            run_probe("thread_start", quantity, "polyrank", str(num_ranks)),
            "bytes" if is_memory else "seconds",
            num_ranks=num_ranks,
            budget=_BUDGET_BYTES_OF_A_RANK if is_memory else None,
        )
        if num_ranks <= _MOST_RANKS["gloo"]:
            yield Figure(
                _SECTION,
                f"the same of {_NAMES['gloo']}",
                run_probe("thread_start", quantity, "gloo", str(num_ranks)),
                "bytes" if is_memory else "seconds",
                num_ranks=num_ranks,
            )


def _soak_figures(program: Path, num_messages: int, num_collectives: int) -> Iterator[Figure]:
    numbers = (_SOAK_RANKS, num_messages, num_collectives)
    result = subprocess.run(
        [str(program), *map(str, numbers)], capture_output=True, text=True, check=True
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    for what in ("messages", "collectives"):
        tenths = [row for row in rows if row["what"] == what]
        count = tenths[-1]["done"]
        yield Figure(
            _SECTION,
            f"one of {count:,} {what} from C++",
            tenths[-1]["seconds"] / count,
            "seconds",
            num_ranks=_SOAK_RANKS,
        )
        yield Figure(
            _SECTION,
            f"growth of memory from the first tenth of these {what} to the last",
            max(row["resident_bytes"] for row in tenths) - tenths[0]["resident_bytes"],
            "bytes",
            num_ranks=_SOAK_RANKS,
            budget=_SOAK_BUDGET_BYTES,
        )
