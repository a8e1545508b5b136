"""What `polyrank check reference` costs, as a multiple of the two runs that it compares.

    python benchmarks/divergence/reference_costs.py                  # all programs, both worlds
    python benchmarks/divergence/reference_costs.py --repeats 9 --only bias_of_each_rank

For each program of tests/divergence_programs/reference, with its fault and without: the shortest of
several checks, divided by the shortest run of the program on 4 ranks plus the shortest of the reference
on 1, which nobody watches. All are runs in this process, in turns, after one of each that is not counted:
Python, torch and what programs import are loaded then.
"""

import argparse
import contextlib
import io
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python" / "divergence"))

import torch.distributed.nn.functional  # noqa: E402 - its default group is the first import's
from polyrank.divergence.reference.checking import check_reference  # noqa: E402
from polyrank.world import find_world  # noqa: E402
from polyrank.worlds.run_options import RunOptions  # noqa: E402
from programs_of_faults import REFERENCE, Program  # noqa: E402


@dataclass
class Case:
    """One program in one world, with its fault or without."""

    program: Program
    world: str
    argument: str
    seconds: dict[str, float] = field(default_factory=dict)  # the shortest, by what was run

    def options(self, num_ranks: int) -> RunOptions:
        return self.program.options(self.world, self.argument, num_ranks=num_ranks)

    def measure(self) -> None:
        """One round: the two runs, and the check of them."""
        program, reference = self.options(4), self.options(1)
        self._time("program", lambda: find_world(self.world).run(program))
        self._time("reference", lambda: find_world(self.world).run(reference))
        self._time("check", lambda: check_reference(program, reference))

    def _time(self, what: str, run: Callable[[], object]) -> None:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run()
        seconds = time.perf_counter() - start
        self.seconds[what] = min(seconds, self.seconds.get(what, math.inf))

    @property
    def ratio(self) -> float:
        """The check's time, of that of the two runs."""
        return self.seconds["check"] / (self.seconds["program"] + self.seconds["reference"])


def main() -> None:
    args = _parse_args()
    torch.set_num_threads(1)
    programs = [p for p in REFERENCE if not args.only or p.file.stem in args.only]
    cases = [
        Case(program, world, argument)
        for program in programs
        for world in program.worlds
        for argument in ("right", "wrong")
    ]
    for case in cases:
        case.measure()  # loads what it needs
        case.seconds.clear()
        for _ in range(args.repeats):
            case.measure()
        if args.verbose:
            told = "  ".join(f"{what} {s * 1e3:6.1f} ms" for what, s in case.seconds.items())
            name = f"{case.program.file.stem} {case.world} {case.argument}"
            print(f"{name:60} {told}  {case.ratio:5.2f}", flush=True)
    print("| programs | world | least | median | most |\n|---|---|---|---|---|")
    for argument in ("right", "wrong"):
        for world in ("threads", "lockstep"):
            ratios = sorted(c.ratio for c in cases if (c.argument, c.world) == (argument, world))
            if ratios:
                cells = f"{ratios[0]:.1f} | {statistics.median(ratios):.1f} | {ratios[-1]:.1f}"
                print(f"| {argument} | {world} | {cells} |")


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="the shortest of so many counts")
    parser.add_argument("--only", nargs="+", metavar="PROGRAM", help="these programs")
    parser.add_argument("--verbose", action="store_true", help="each program's figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
