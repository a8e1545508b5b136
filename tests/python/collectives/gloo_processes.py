"""Runs a module's programs in real gloo processes, and keeps what each rank got.

The module has `WORLD_SIZE` and `run_all(make)`, which gives the tensors of each program by name;
`make` turns a function of the rank into this rank's tensor.

Started as a program, this is one rank: `gloo_processes.py RANK FOLDER MODULE`.
"""

from __future__ import annotations

import datetime
import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

TIMEOUT_SECONDS = 120

Results = dict[str, list[torch.Tensor]]


def run_all_ranks(folder: Path, module: str) -> list[Results]:
    """The results of all programs of the module, by rank."""
    world_size = importlib.import_module(module).WORLD_SIZE
    command = [sys.executable, __file__]
    ranks = [subprocess.Popen([*command, str(r), str(folder), module]) for r in range(world_size)]
    try:
        codes = [rank.wait(timeout=TIMEOUT_SECONDS) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * world_size, f"exit codes of the gloo ranks: {codes}"
    return [torch.load(folder / f"rank{r}.pt") for r in range(world_size)]


def _run_rank(rank: int, folder: Path, module: str) -> None:
    programs = importlib.import_module(module)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder / "store"), programs.WORLD_SIZE),
        rank=rank,
        world_size=programs.WORLD_SIZE,
        timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
    )
    torch.save(programs.run_all(lambda f: f(rank)), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    _run_rank(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
