"""Runs polyrank.doctor.program in each world, as a user runs a program."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

__all__ = ["SelfTest", "self_tests"]

_SECONDS = 60.0  # that a world may take, on a machine that is busy, too
_NUM_RANKS = 4
# Each of its processes starts Python and torch anew, which takes seconds.
_FEWER_RANKS = {"real": 2}
_OPTIONS = {"fake": ("--rank", "1")}
_LINES_TOLD = 12


@dataclass(frozen=True)
class SelfTest:
    """What became of one world's."""

    world: str
    ranks: int
    passed: bool
    seconds: float  # of the whole command, the start of Python and torch included
    message: str  # the end of what a failing one wrote


def self_tests(worlds: Sequence[str], num_at_once: int) -> list[SelfTest]:
    """Run it in each of the worlds, so many of them side by side.

    Each is a command of its own, so that one that hangs or dies is told as any other failure.
    """
    with ThreadPoolExecutor(max_workers=max(1, num_at_once)) as pool:
        return list(pool.map(partial(run_self_test, "polyrank.doctor.program"), worlds))


def run_self_test(module: str, world: str, seconds: float = _SECONDS) -> SelfTest:
    """Run a module in one world."""
    ranks = _FEWER_RANKS.get(world, _NUM_RANKS)
    command = [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", str(ranks)]
    started = time.perf_counter()
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, *_OPTIONS.get(world, ()), "-m", module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        passed, message = False, f"it did not end within {seconds:.0f} s"
    else:
        passed = done.returncode == 0
        end = "\n".join(done.stdout.rstrip().splitlines()[-_LINES_TOLD:])
        message = "" if passed else f"exit code {done.returncode}\n{end}"
    return SelfTest(world, ranks, passed, time.perf_counter() - started, message)
