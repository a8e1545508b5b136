"""What watching agreement costs a training step in lockstep, before anything parts.

    python benchmarks/divergence/watch_costs.py

Steps of a data-parallel model, watched and not, in turns in one process; processor time, of which the shortest step
of each counts.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import polyrank
import torch
import torch.distributed as dist
from polyrank.divergence.agreement import launches_told
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "llama"))

from model import ModelConfig, Transformer  # noqa: E402


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """A small model, and its input."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64)), torch.randn(32, 64)


def llama() -> tuple[nn.Module, torch.Tensor]:
    """The example's model, and its tokens."""
    config = ModelConfig()
    return Transformer(config), torch.randint(0, config.vocab_size, (2, 16))


def seconds_of_step(make: object, num_ranks: int, *, watched: bool, num_steps: int) -> float:
    """The shortest of some steps, after one that is not counted."""
    torch.manual_seed(0)
    with polyrank.lockstep(num_ranks):
        model, inputs = make()  # type: ignore[operator]
        rank = dist.get_rank()
        inputs = inputs + rank if inputs.is_floating_point() else (inputs + rank) % 256
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def step() -> float:
            start = time.thread_time()
            optimizer.zero_grad()
            model(inputs).float().square().mean().backward()
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad, op=dist.ReduceOp.AVG)
            optimizer.step()
            return time.thread_time() - start

        if not watched:
            return min([step() for _ in range(num_steps + 1)][1:])
        # As the first run of `polyrank check agreement` watches.
        with launches_told(), polyrank.agreement(operators=False):
            return min([step() for _ in range(num_steps + 1)][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | ranks | step, ms | watched | median of the rounds |\n|---|---|---|---|---|")
    for make in (mlp, llama):
        for num_ranks in (8, 64):
            pairs = [
                tuple(
                    seconds_of_step(make, num_ranks, watched=watched, num_steps=args.steps)
                    for watched in (False, True)
                )
                for _ in range(args.rounds)
            ]
            plain, watched = (min(column) for column in zip(*pairs, strict=True))
            median = statistics.median(b / a for a, b in pairs)
            cells = f"{plain * 1e3:.1f} | {watched / plain:.3f} | {median:.3f}"
            print(f"| {make.__name__} | {num_ranks} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
