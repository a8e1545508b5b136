"""Prints the seconds of a step of work A, or of an all_reduce of 16 KiB or 64 MiB, on ranks of one machine.

Started as `thread_ranks.py polyrank|processes|multithreaded|gloo work_a|all_reduce|large WORLD_SIZE`:
polyrank's threads world, its processes world, the threads that PyTorch's own tests use
(MultiThreadedTestCase), or gloo's processes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

WARM_UP_STEPS = 3


def num_steps(work: str, world_size: int) -> int:
    return 2 if work == "large" else max(5, 1000 // world_size)


def seconds_of(step: Callable[[], None], count: int) -> float:
    """The best of three times of `count` steps, per step; all ranks run them."""
    times = []
    for _ in range(3):
        dist.barrier()
        start = time.perf_counter()
        for _ in range(count):
            step()
        times.append((time.perf_counter() - start) / count)
    return min(times)


def measure(work: str) -> float:
    """What one rank sees."""
    x, w = torch.randn(32, 64), torch.randn(64, 64)
    gradient = torch.randn(64, 64)
    message = torch.randn(2**24 if work == "large" else 4096)

    def work_a() -> None:
        for _ in range(4):
            torch.relu(x @ w)
        dist.all_reduce(gradient)

    def all_reduce() -> None:
        dist.all_reduce(message)

    step = {"work_a": work_a, "all_reduce": all_reduce, "large": all_reduce}[work]
    for _ in range(WARM_UP_STEPS):
        step()
    return seconds_of(step, num_steps(work, dist.get_world_size()))


def on_polyrank(work: str, world_size: int) -> float:
    import polyrank

    return polyrank.run_ranks(measure, world_size, work)[0]


def on_processes(work: str, world_size: int) -> float:
    import polyrank
    from polyrank.process_ranks.warm import warm

    warm()
    return polyrank.run_ranks(measure, world_size, work, world="processes")[0]


def on_multithreaded(work: str, world_size: int) -> float:
    from torch.testing._internal.distributed import multi_threaded_pg as threaded

    threaded._install_threaded_pg()
    torch._C._distributed_c10d._set_thread_isolation_mode(True)
    store = dist.HashStore()
    results: dict[int, float] = {}

    def run_rank(rank: int) -> None:
        dist.init_process_group("threaded", rank=rank, world_size=world_size, store=store)
        results[rank] = measure(work)

    threads = [threading.Thread(target=run_rank, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results[0]


def run_process(rank: int, work: str, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    seconds = measure(work)
    if rank == 0:
        Path(folder, "seconds").write_text(str(seconds))
    dist.destroy_process_group()


def on_gloo(work: str, world_size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(run_process, (work, world_size, folder), world_size)
        return float(Path(folder, "seconds").read_text())


def main() -> None:
    torch.set_num_threads(1)
    run = {
        "polyrank": on_polyrank,
        "processes": on_processes,
        "multithreaded": on_multithreaded,
        "gloo": on_gloo,
    }[sys.argv[1]]
    print(run(sys.argv[2], int(sys.argv[3])))


if __name__ == "__main__":
    main()
