"""Prints the seconds of torch.add of two plain 4x4 tensors; with --with-polyrank, after import."""

import sys
from timeit import Timer

import torch

_NUM_SAMPLES = 200
_CALLS_PER_SAMPLE = 1000

if "--with-polyrank" in sys.argv:
    import polyrank  # noqa: F401

torch.set_num_threads(1)
a, b = torch.ones(4, 4), torch.ones(4, 4)
timer = Timer("torch.add(a, b)", globals={"torch": torch, "a": a, "b": b})
print(min(timer.repeat(_NUM_SAMPLES, _CALLS_PER_SAMPLE)) / _CALLS_PER_SAMPLE)
