"""Every collective, dtype and kind of group in real gloo processes and in lockstep, bit for bit.

POLYRANK_SWEEP=1: all dtypes, in worlds of 2, 3, 4 and 5 ranks.
"""

from __future__ import annotations

import os
from pathlib import Path

import polyrank
import pytest
from collectives.comparison import differences, run_in_lockstep
from collectives.gloo_processes import run_all_ranks, suite_of

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"


@pytest.mark.parametrize("world_size", [2, 3, 4, 5] if SWEEP else [3])
def test_sweep_of_collectives_dtypes_and_groups(world_size: int, tmp_path: Path) -> None:
    name = "sweep" if SWEEP else "quick"
    expected = run_all_ranks(tmp_path, name, world_size)
    suite = suite_of(name, world_size)
    found = {}
    with polyrank.lockstep(world_size=world_size):
        groups = suite.make_groups()
        for program_name, program in suite.programs.items():
            tensors = run_in_lockstep(program, groups)
            found[program_name] = differences(
                tensors, [of_rank[program_name] for of_rank in expected]
            )
    assert not {program_name: lines for program_name, lines in found.items() if lines}
