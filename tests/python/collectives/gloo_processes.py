"""Runs the programs in real gloo processes, and keeps what each rank got.

Started as a program, this is one rank: `gloo_processes.py RANK FOLDER`.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

TIMEOUT_SECONDS = 120

Results = dict[str, list[torch.Tensor]]


def run_all_ranks(folder: Path) -> list[Results]:
    """The results of all programs, by rank."""
    from collectives.programs import WORLD_SIZE

    command = [sys.executable, __file__]
    ranks = [subprocess.Popen([*command, str(r), str(folder)]) for r in range(WORLD_SIZE)]
    try:
        codes = [rank.wait(timeout=TIMEOUT_SECONDS) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * WORLD_SIZE, f"exit codes of the gloo ranks: {codes}"
    return [torch.load(folder / f"rank{r}.pt") for r in range(WORLD_SIZE)]


def _run_rank(rank: int, folder: Path) -> None:
    from collectives.programs import PROGRAMS, WORLD_SIZE, make_groups

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder / "store"), WORLD_SIZE),
        rank=rank,
        world_size=WORLD_SIZE,
        timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
    )
    groups = make_groups()
    results = {name: run(lambda f: f(rank), groups) for name, run in PROGRAMS.items()}
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    _run_rank(int(sys.argv[1]), Path(sys.argv[2]))
