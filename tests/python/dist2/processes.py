"""Runs programs in real processes, with the variables that torchrun sets.

Started as a program, this is one rank: `processes.py PROGRAM FOLDER`.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass
class Ended:
    """How one rank ended."""

    code: int
    errors: str  # what it wrote to stderr
    seconds: float  # from the start of all


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_processes(
    program: str, world_size: int, folder: Path, *, ranks: list[int] | None = None
) -> list[Ended]:
    """Run "module:function" on each rank (or on some), and wait for all."""
    base = os.environ | {
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    started = time.monotonic()
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, program, str(folder)],
            env=base | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ranks or range(world_size)
    ]
    ended = []
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            ended.append(Ended(process.returncode, errors, time.monotonic() - started))
    finally:
        for process in processes:
            process.kill()
    return ended


def results_of(folder: Path, world_size: int) -> list[Any]:
    """What the program returned, by rank."""
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world_size)]


def main(program: str, folder: str) -> None:
    """Run the program as the rank that the environment says."""
    torch.set_num_threads(1)
    module, _, function = program.partition(":")
    result = getattr(importlib.import_module(module), function)()
    torch.save(result, Path(folder) / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    main(*sys.argv[1:])
