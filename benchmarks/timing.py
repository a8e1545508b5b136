"""Times statements in turns, so that all of them meet the same machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from timeit import Timer
from typing import Any

# Short enough to fit between two interruptions by other processes.
_SAMPLE_SECONDS = 2e-3
_MAX_CALLS_PER_SAMPLE = 2000
_MIN_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """One statement to time, in a world of its own."""

    name: str
    statement: str
    # Entered for each sample; gives the names that the statement uses.
    world: Callable[[], AbstractContextManager[dict[str, Any]]]
    # Runs before each sample, untimed. `count` is how often the statement will run.
    setup: str = "pass"


@dataclass(frozen=True)
class Effort:
    """How much time to spend."""

    num_rounds: int
    # A case that took this long sits out the rest, but not the first three rounds.
    seconds_per_case: float

    @classmethod
    def thorough(cls) -> Effort:
        return cls(num_rounds=60, seconds_per_case=3.0)

    @classmethod
    def quick(cls) -> Effort:
        return cls(num_rounds=10, seconds_per_case=0.5)


@dataclass
class _Progress:
    shortest_seconds: float = math.inf
    spent_seconds: float = 0.0
    num_calls: int = 0


def shortest_seconds(cases: Sequence[Case], effort: Effort) -> dict[str, float]:
    """Seconds per call of each case, by name: the shortest of several samples taken in turns."""
    progress = {case.name: _Progress() for case in cases}
    for done_rounds in range(effort.num_rounds):
        for case in cases:
            state = progress[case.name]
            if done_rounds < _MIN_ROUNDS or state.spent_seconds < effort.seconds_per_case:
                _take_sample(case, state)
    return {name: state.shortest_seconds for name, state in progress.items()}


def _take_sample(case: Case, state: _Progress) -> None:
    start = time.perf_counter()
    with case.world() as world_names:
        names = {**world_names, "count": 1}
        timer = Timer(case.statement, case.setup, globals=names)
        timer.timeit(1)  # fills the caches
        if not state.num_calls:
            calls = int(_SAMPLE_SECONDS / timer.timeit(1))
            state.num_calls = min(max(calls, 1), _MAX_CALLS_PER_SAMPLE)
        names["count"] = state.num_calls
        seconds = timer.timeit(state.num_calls) / state.num_calls
    state.shortest_seconds = min(state.shortest_seconds, seconds)
    state.spent_seconds += time.perf_counter() - start
