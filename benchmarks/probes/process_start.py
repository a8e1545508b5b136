"""Prints what it takes to start ranks that are processes, by `polyrank run`.

Started as `process_start.py seconds|served|bytes WORLD_SIZE`.

seconds: from the start of the command until all ranks have met in a barrier, without a server.
served: the same with a server of `polyrank serve`, which is started first.
bytes: private memory of the rank that has most of it, after a training step of a small model with DDP.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist


def meet() -> None:
    dist.init_process_group()
    dist.barrier()
    if dist.get_rank() == 0:
        print(time.monotonic())  # the machine's clock


def train() -> None:
    import psutil

    dist.init_process_group()
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(8, 64)).sum().backward()
    optimizer.step()
    dist.barrier()  # all have
    size = torch.tensor(psutil.Process().memory_full_info().uss)
    dist.all_reduce(size, dist.ReduceOp.MAX)
    if dist.get_rank() == 0:
        print(size.item())


def main() -> None:
    quantity, world_size, *inside = sys.argv[1:]
    if inside:
        {"seconds": meet, "served": meet, "bytes": train}[quantity]()
        return
    with tempfile.TemporaryDirectory() as folder:
        variables = os.environ | {"XDG_RUNTIME_DIR": folder}
        if quantity == "served":
            polyrank("serve", variables=variables)
        start = time.monotonic()
        program = (str(Path(__file__)), quantity, world_size, "inside")
        text = polyrank(
            "run", "--world", "processes", "--ranks", world_size, *program, variables=variables
        )
        if quantity == "served":
            polyrank("serve", "--stop", variables=variables)
    number = float(text.rpartition(" ")[2])
    print(number if quantity == "bytes" else number - start)


def polyrank(*arguments: str, variables: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
