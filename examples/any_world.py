"""Fits a line to data that is spread over ranks, with process groups as values, in any world.

    torchrun --nproc-per-node 2 examples/any_world.py
    polyrank run --world real --ranks 2 examples/any_world.py
    polyrank run --world lockstep --ranks 2 examples/any_world.py
    polyrank run --world threads --ranks 2 examples/any_world.py
    polyrank run --world fake --ranks 1000000 --rank 17 examples/any_world.py

examples/cpp/any_world.cc is the same in C++. With two ranks all print the same line, to the last
digit; the rank of the fake world fits the data of 17 alone, since all ranks are taken to have its.
"""

import sys
from datetime import timedelta

import torch
from polyrank import dist2

STEPS = 200
LEARNING_RATE = 0.25


def fit(group: dist2.ProcessGroup) -> torch.Tensor:
    """Slope and offset, the same on all ranks."""
    # Each rank has a piece of the line of its own; in lockstep `rank` differs between ranks.
    x = torch.linspace(0, 1, 16) + group.rank() % 2
    y = 3 * x + 1
    line = torch.zeros(2)
    for _ in range(STEPS):
        error = line[0] * x + line[1] - y
        gradient = torch.stack([(error * x).mean(), error.mean()])
        group.allreduce([gradient]).wait()
        line -= LEARNING_RATE * gradient / group.size()
    return line


def main() -> None:
    group = dist2.new_group("gloo", timedelta(seconds=60), "cpu")
    with dist2.process_group(group):
        slope, offset = fit(dist2.current_process_group()).tolist()
    # One write for the line and its end: ranks share the output.
    sys.stdout.write(f"y = {slope:.9g} x + {offset:.9g}\n")
    group.shutdown()


if __name__ == "__main__":
    main()
