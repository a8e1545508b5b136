"""Prints what it takes to start ranks: threads of polyrank's in one process, or processes on gloo.

Started as `thread_start.py seconds|bytes polyrank|gloo WORLD_SIZE`.

seconds: from the start of the process, or of the first one, until all ranks have met in a barrier.
bytes: memory of a rank that has done a step of work A, its tensors (40 KiB) included. Of threads,
that is what they add to the process; of processes, what each has for itself and its part of what it
shares with others.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP_RANKS = 2


def meet() -> float:
    """The seconds of the clock when all ranks have come."""
    import torch.distributed as dist

    dist.barrier()
    return time.monotonic()


def work() -> None:
    """Until all ranks have done a step."""
    import torch
    import torch.distributed as dist

    x, w, gradient = torch.randn(32, 64), torch.randn(64, 64), torch.randn(64, 64)
    for _ in range(4):
        torch.relu(x @ w)
    dist.all_reduce(gradient)
    dist.barrier()


def on_polyrank(quantity: str, world_size: int, *_: str) -> float:
    """All ranks, in this process."""
    import polyrank
    import psutil

    process = psutil.Process()

    def resident_bytes() -> int:
        work()
        return process.memory_info().rss

    if quantity == "seconds":
        return max(polyrank.run_ranks(meet, world_size))
    polyrank.run_ranks(resident_bytes, WARM_UP_RANKS)
    before = process.memory_info().rss
    return (max(polyrank.run_ranks(resident_bytes, world_size)) - before) / world_size


def on_gloo(quantity: str, world_size: int, rank: str, file: str) -> float:
    """One of the ranks."""
    import torch.distributed as dist

    store = dist.FileStore(file, world_size)
    dist.init_process_group("gloo", store=store, rank=int(rank), world_size=world_size)
    if quantity == "seconds":
        return meet()
    import psutil

    work()
    size: int = psutil.Process().memory_full_info().pss
    dist.barrier()  # nobody leaves before all have looked
    return size


def numbers_of_workers(num_workers: int) -> list[float]:
    """What each process prints."""
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            subprocess.Popen(
                [sys.executable, *sys.argv, str(worker), str(Path(folder) / "store")],
                stdout=subprocess.PIPE,
                text=True,
            )
            for worker in range(num_workers)
        ]
        outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit("a process failed")
    return [float(output.splitlines()[-1]) for output in outputs]


def main() -> None:
    quantity, world, world_size, *worker = sys.argv[1:]
    if worker:
        run = {"polyrank": on_polyrank, "gloo": on_gloo}[world]
        print(run(quantity, int(world_size), *worker))
        return
    start = time.monotonic()
    numbers = numbers_of_workers(int(world_size) if world == "gloo" else 1)
    # The clock is the machine's.
    print(max(numbers) - start if quantity == "seconds" else sum(numbers) / len(numbers))


if __name__ == "__main__":
    main()
