"""Measures polyrank beside plain PyTorch, PyTorch's simulator and bare C++ calls; `make bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from boxed_call_figures import boxed_call_figures
from collective_figures import collective_figures
from fake_figures import fake_figures
from figure import Figure, Skipped
from operator_figures import operator_figures
from parallel_figures import parallel_figures
from process_figures import loading_figures, memory_figures, training_figures
from process_group_figures import process_group_figures
from processes_figures import processes_figures
from report import busy, print_table, write_json
from rich.console import Console
from thread_figures import thread_figures
from timing import Effort
from trace_figures import trace_figures
from work_figures import work_figures

_ROOT = Path(__file__).resolve().parents[1]
_PROGRAMS = _ROOT / "build" / "release" / "benchmarks"
_BOXED_CALLS = _PROGRAMS / "polyrank_boxed_calls"
_WIDTH_OF_A_FILE = 130
# Messages and collectives of ranks that are threads.
_FEW_LAUNCHES = (400_000, 20_000)
_MANY_LAUNCHES = (10_000_000, 100_000)

_Section = Callable[[], Iterable[Figure | Skipped]]


def main() -> None:
    args = _parse_args()
    torch.set_num_threads(1)
    effort = Effort.quick() if args.quick else Effort.thorough()
    sections: dict[str, _Section] = {
        "operators": lambda: operator_figures(effort),
        "collectives": lambda: collective_figures(effort, _PROGRAMS / "polyrank_collective_loops"),
        "trace": lambda: trace_figures(effort),
        "boxed": lambda: boxed_call_figures(effort, args.boxed_calls),
        "works": lambda: work_figures(effort, _PROGRAMS / "polyrank_work_loops"),
        "parallel": lambda: parallel_figures(3 if args.quick else 10),
        "training": lambda: training_figures(2 if args.quick else 10),
        "memory": memory_figures,
        "fake": fake_figures,
        "dist2": process_group_figures,
        "threads": lambda: thread_figures(
            _PROGRAMS / "polyrank_thread_soak", *(_FEW_LAUNCHES if args.quick else _MANY_LAUNCHES)
        ),
        "processes": processes_figures,
        "loading": lambda: loading_figures(2 if args.quick else 7),
    }
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_A_FILE)
    results: list[Figure | Skipped] = []
    for name in args.only or sections:
        if name not in sections:
            raise SystemExit(f"--only {name}: there are {', '.join(sections)}")
        with Console(stderr=True).status(f"measuring {name}"):
            results += sections[name]()
    print_table(results, console)
    if args.json:
        write_json(results, args.json)
    if args.html:
        from figures_page import write_page  # needs plotly

        write_page(results, args.html, busy())


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, some minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="draw the figures here")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="measure these sections")
    parser.add_argument(
        "--boxed-calls",
        type=Path,
        default=_BOXED_CALLS,
        metavar="PROGRAM",
        help="the built polyrank_boxed_calls (default: the release build's)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
