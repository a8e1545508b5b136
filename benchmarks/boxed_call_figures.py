"""N distinct ranks against the N boxed calls that they stand for, both from C++."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from figure import Figure, Skipped
from timing import Effort

_SECTION = "boxed"
_BUDGET = 1.15
# Elementwise arithmetic at this many ranks is to run as one kernel over all of them.
_STACKED_RANKS = 512
_STACKED_BUDGET = 0.2


def boxed_call_figures(effort: Effort, program: Path) -> Iterator[Figure | Skipped]:
    if not program.is_file():
        yield Skipped(
            _SECTION,
            f"{program} is not built; configure with -DPOLYRANK_WITH_BENCHMARKS=ON and build the "
            "target polyrank_boxed_calls, or name the program with --boxed-calls",
        )
        return
    result = subprocess.run(
        [str(program), str(effort.num_rounds)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        yield Skipped(_SECTION, f"{program} failed: {result.stderr.strip()}")
        return
    for row in map(json.loads, result.stdout.splitlines()):
        is_stacked = row["op"] == "add" and row["num_ranks"] == _STACKED_RANKS
        yield Figure(
            _SECTION,
            f"{row['side']}x{row['side']} {row['op']}, distinct ranks",
            row["local_seconds"],
            "seconds",
            num_ranks=row["num_ranks"],
            base=row["bare_seconds"],
            base_name="bare calls",
            budget=_STACKED_BUDGET if is_stacked else _BUDGET,
        )
