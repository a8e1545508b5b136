"""Prints the table of docs/benchmarks.md that compares ranks that are processes with threads and gloo's processes.

    python benchmarks/processes_table.py [--repeats 3] [--only all_reduce,work_a,large,start,bytes,llama]

Each figure is the least of several runs, in which the worlds take turns, so that a busy minute of the machine
hits all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from probe import ProbeError, run_probe

HERE = Path(__file__).parent
LLAMA = HERE.parent / "examples" / "llama" / "train.py"
WORLDS = {"processes": "processes", "polyrank": "threads", "gloo": "gloo"}
# Of gloo's processes, more take minutes or more memory than there is.
MOST_OF_GLOO = {"all_reduce": 8, "work_a": 8, "large": 8}
STEPS = {
    "all_reduce": ("all_reduce of 16 KiB, ms", (2, 8, 32, 64)),
    "work_a": ("work A, ms", (2, 8, 32, 64)),
    "large": ("all_reduce of 64 MiB, ms", (2, 8)),
}
STARTS = {"seconds": "alone", "served": "with a server"}
START_RANKS = (8, 64)
BYTES_RANKS = (8, 64, 512)


def least(repeats: int, measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The least that each measured, in turns; without what could not be measured."""
    found: dict[str, float] = {}
    for _ in range(repeats):
        for name, measure in measures.items():
            try:
                found[name] = min(measure(), found.get(name, float("inf")))
            except (ProbeError, subprocess.CalledProcessError) as error:
                print(f"{name}: {error}", file=sys.stderr)
    return found


def print_row(title: str, ranks: int, found: dict[str, float], scale: float, digits: int) -> None:
    own = next(iter(found.values()), 0.0)
    cells = [
        f"{name} {value * scale:.{digits}f}" + (f" (x {value / own:.2f})" if value != own else "")
        for name, value in found.items()
    ]
    print(f"| {title} | {ranks} | {' | '.join(cells)} |", flush=True)


def step_rows(work: str, repeats: int) -> None:
    title, sizes = STEPS[work]
    for ranks in sizes:
        measures = {
            name: lambda world=world: run_probe("thread_ranks", world, work, str(ranks))  # noqa: B023
            for world, name in WORLDS.items()
            if world != "gloo" or ranks <= MOST_OF_GLOO[work]
        }
        print_row(title, ranks, least(repeats, measures), 1e3, 3)


def start_rows(repeats: int) -> None:
    for ranks in START_RANKS:
        measures = {
            text: lambda quantity=quantity: run_probe("process_start", quantity, str(ranks))  # noqa: B023
            for quantity, text in STARTS.items()
        }
        print_row("start until all have met, s", ranks, least(repeats, measures), 1.0, 2)


def bytes_rows() -> None:
    for ranks in BYTES_RANKS:
        own = {"processes": lambda: run_probe("process_start", "bytes", str(ranks))}  # noqa: B023
        print_row("private MiB of a rank after a step", ranks, least(1, own), 2.0**-20, 1)


def llama_rows(repeats: int) -> None:
    ranks = 8
    common = [str(LLAMA), "--steps", "2", "--tp", "2"]
    run = [sys.executable, "-m", "polyrank", "run", "--ranks", str(ranks)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    commands = {
        "processes with a server": [*run, *common],
        "processes alone": [*run, "--no-serve", *common],
        "torchrun": [*torchrun, str(ranks), *common],
    }
    with tempfile.TemporaryDirectory() as folder:
        variables = os.environ | {"XDG_RUNTIME_DIR": folder, "OMP_NUM_THREADS": "1"}
        serve = [sys.executable, "-m", "polyrank", "serve"]
        subprocess.run(serve, check=True, env=variables, stdout=sys.stderr)

        def seconds(command: list[str]) -> float:
            start = time.monotonic()
            subprocess.run(command, check=True, env=variables, capture_output=True)
            return time.monotonic() - start

        measures = {
            name: lambda command=command: seconds(command) for name, command in commands.items()
        }
        print_row("examples/llama, 2 steps, s", ranks, least(repeats, measures), 1.0, 1)
        subprocess.run([*serve, "--stop"], check=True, env=variables, stdout=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=f"{','.join(STEPS)},start,bytes,llama")
    given = parser.parse_args()
    rows: dict[str, Callable[[], None]] = {
        **{work: lambda work=work: step_rows(work, given.repeats) for work in STEPS},
        "start": lambda: start_rows(given.repeats),
        "bytes": bytes_rows,
        "llama": lambda: llama_rows(given.repeats),
    }
    for name in given.only.split(","):
        rows[name]()


if __name__ == "__main__":
    main()
