"""Prints what it takes to start ranks that are processes, by `polyrank run`.

Started as `process_start.py seconds|bytes WORLD_SIZE`.

seconds: from the start of the command until all ranks have met in a barrier.
bytes: private memory of the rank that has most of it, after a training step of a small model with DDP.
"""

from __future__ import annotations

import subprocess
import sys
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
        {"seconds": meet, "bytes": train}[quantity]()
        return
    command = [sys.executable, "-m", "polyrank", "run", "--ranks", world_size]
    start = time.monotonic()
    done = subprocess.run(
        [*command, str(Path(__file__)), quantity, world_size, "inside"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    number = float(done.stdout.rpartition(" ")[2])
    print(number - start if quantity == "seconds" else number)


if __name__ == "__main__":
    main()
