"""Prints the bytes of memory that a 1 MiB tensor takes per rank.

Usage: memory.py (polyrank|pytorch) (replicated|distinct) NUM_RANKS
"""

import sys

import polyrank
import psutil
import torch
from torch.distributed import _local_tensor as pytorch

_NUM_TENSORS = 4
_NUM_ELEMENTS = 2**20 // 4  # float32

simulator, kind, num_ranks = sys.argv[1], sys.argv[2], int(sys.argv[3])
mode = {"polyrank": polyrank, "pytorch": pytorch}[simulator].LocalTensorMode(num_ranks)


def make(num_elements: int) -> torch.Tensor:
    if kind == "replicated":
        return torch.ones(num_elements)
    tensor: torch.Tensor = mode.rank_map(lambda rank: torch.full((num_elements,), float(rank)))
    return tensor


process = psutil.Process()
with mode:
    warm_up = make(4)
    before = process.memory_info().rss
    tensors = [make(_NUM_ELEMENTS) for _ in range(_NUM_TENSORS)]
    growth = process.memory_info().rss - before
print(growth / _NUM_TENSORS / num_ranks)
