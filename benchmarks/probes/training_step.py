"""Prints the seconds of one training step of examples/train_digits.py.

Usage: training_step.py (polyrank|pytorch|plain) NUM_RANKS NUM_EPOCHS
"""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from worlds import fake_process_group, polyrank_lockstep, pytorch_lockstep

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import train_digits as example

_HIDDEN = 256
_BATCH_SIZE = 128
_MAX_TP = 4

simulator, num_ranks, num_epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lockstep = {
    "polyrank": polyrank_lockstep,
    "pytorch": pytorch_lockstep,
    "plain": fake_process_group,
}[simulator]

torch.set_num_threads(1)
with lockstep(num_ranks):
    tp_size = min(_MAX_TP, num_ranks)
    mesh = init_device_mesh("cpu", (num_ranks // tp_size, tp_size), mesh_dim_names=("dp", "tp"))
    torch.manual_seed(0)
    samples, _ = example.load_samples()
    model = nn.Sequential(
        example.TensorParallelBlock(example.NUM_PIXELS, _HIDDEN, _HIDDEN, mesh),
        nn.ReLU(),
        example.TensorParallelBlock(_HIDDEN, _HIDDEN, example.NUM_CLASSES, mesh),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    shortest = float("inf")
    for epoch in range(1 + num_epochs):
        start = time.perf_counter()
        losses = example.train_epoch(model, optimizer, samples, _BATCH_SIZE, mesh)
        seconds = (time.perf_counter() - start) / len(losses)
        if epoch > 0:  # the first fills the caches
            shortest = min(shortest, seconds)
print(shortest)
