"""Runs programs in real gloo processes, and keeps what each rank got.

Started as a program, this is one rank: `gloo_processes.py RANK WORLD_SIZE FOLDER SUITE`.
"""

from __future__ import annotations

import datetime
import importlib
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collectives.programs import Suite

TIMEOUT_SECONDS = 600


class Results(dict[str, list[torch.Tensor]]):
    """What a rank got, by program. To ask for one that failed is an error that says why."""

    def __init__(
        self, rank: int, results: dict[str, list[torch.Tensor]], errors: dict[str, str]
    ) -> None:
        super().__init__(results)
        self.rank = rank
        self.errors = errors

    def __missing__(self, name: str) -> list[torch.Tensor]:
        raise AssertionError(f"rank {self.rank} of gloo, {name}: {self.errors.get(name)}")


def is_refused(name: str, results: list[Results]) -> bool:
    """Whether all ranks of gloo refused a program that some versions of torch refuse."""
    from collectives.programs import REFUSED_BY_SOME

    return name in REFUSED_BY_SOME and all(name in of_rank.errors for of_rank in results)


def suite_of(name: str, world_size: int) -> Suite:
    """The programs of that name: "programs", "quick", "sweep", or a module's (its `SUITE`)."""
    from collectives import memory_orders, programs, sweep

    if "." in name:
        suite: Suite = importlib.import_module(name).SUITE
        return suite
    if name == "programs":
        all_programs = programs.PROGRAMS | memory_orders.MEMORY_ORDERS
        return programs.Suite(all_programs, programs.make_groups)
    dtypes = {"quick": sweep.QUICK_DTYPES, "sweep": sweep.DTYPES}
    return sweep.suite(world_size, dtypes[name])


def run_all_ranks(folder: Path, suite: str, world_size: int) -> list[Results]:
    """The results of all programs, by rank."""
    command = [sys.executable, __file__]
    arguments = [str(world_size), str(folder), suite]
    ranks = [subprocess.Popen([*command, str(r), *arguments]) for r in range(world_size)]
    try:
        codes = [rank.wait(timeout=TIMEOUT_SECONDS) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * world_size, f"exit codes of the gloo ranks: {codes}"
    return [Results(r, *torch.load(folder / f"rank{r}.pt")) for r in range(world_size)]


def _run_rank(rank: int, world_size: int, folder: Path, suite_name: str) -> None:
    from gloo_gaps import gather_single

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder / "store"), world_size),
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
    )
    if hasattr(dist, "gather_single"):
        dist.gather_single = gather_single
    suite = suite_of(suite_name, world_size)
    groups = suite.make_groups()
    results, errors = {}, {}
    for name, run in suite.programs.items():
        try:
            results[name] = run(lambda f: f(rank), groups)
        except Exception:  # noqa: BLE001  the other programs have results all the same
            errors[name] = traceback.format_exc()
    torch.save((results, errors), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    # As for the tests: `collectives.…` and `oracle.…`.
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    _run_rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
