"""Seconds per all_reduce of 4 floats through dist2: `process_group.py polyrank|pytorch WORLD RANKS`.

WORLD is gloo (a process for each rank), threads, lockstep or fake.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import torch

_CALLS = 200
_ROUNDS = 7
_TIMEOUT = timedelta(seconds=60)


def main(package: str, world: str, num_ranks: int) -> None:
    torch.set_num_threads(1)
    # Without polyrank where PyTorch is measured.
    name = "polyrank.dist2" if package == "polyrank" else "torch.distributed._dist2"
    dist2 = importlib.import_module(name)
    print(_WORLDS[world](dist2, num_ranks))


def _seconds(dist2: Any) -> float:
    group = dist2.new_group("gloo", _TIMEOUT, "cpu")
    x = torch.ones(4)
    shortest = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            group.allreduce([x]).wait()
        shortest = min(shortest, (time.perf_counter() - start) / _CALLS)
    return shortest


def _in_processes(dist2: Any, num_ranks: int) -> float:
    others = []
    if "RANK" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"RANK": "0", "WORLD_SIZE": str(num_ranks)}
        command = [sys.executable, *sys.argv]
        others = [
            subprocess.Popen(command, env=os.environ | {"RANK": str(rank)}, stdout=sys.stderr)
            for rank in range(1, num_ranks)
        ]
    seconds = _seconds(dist2)
    for process in others:
        process.wait()
    return seconds


def _in_threads(dist2: Any, num_ranks: int) -> float:
    import polyrank

    return min(polyrank.run_ranks(_seconds, num_ranks, dist2))


def _in_lockstep(dist2: Any, num_ranks: int) -> float:
    import polyrank

    with polyrank.lockstep(num_ranks):
        return _seconds(dist2)


def _alone(dist2: Any, num_ranks: int) -> float:
    import polyrank

    with polyrank.fake_world(num_ranks):
        return _seconds(dist2)


_WORLDS = {
    "gloo": _in_processes,
    "threads": _in_threads,
    "lockstep": _in_lockstep,
    "fake": _alone,
}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
