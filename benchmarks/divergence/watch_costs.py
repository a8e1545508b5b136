"""What watching agreement costs a training step in lockstep, before anything parts.

    python benchmarks/divergence/watch_costs.py

Steps of a data-parallel model, watched and not, in turns in one process; processor time of one thread, of which the
lower quartile of all steps of each counts.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polyrank
import torch
import torch.distributed as dist
from polyrank.divergence.agreement import launches_told
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "llama"))

from model import ModelConfig, Transformer  # noqa: E402

Make = Callable[[], tuple[nn.Module, torch.Tensor]]


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """A small model, and its input."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64)), torch.randn(32, 64)


def llama() -> tuple[nn.Module, torch.Tensor]:
    """The example's model, and its tokens."""
    config = ModelConfig()
    return Transformer(config), torch.randint(0, config.vocab_size, (2, 16))


def seconds_of_steps(make: Make, num_ranks: int, *, watched: bool, num_steps: int) -> list[float]:
    """Of some steps, after two that are not counted."""
    torch.manual_seed(0)
    with contextlib.ExitStack() as stack:
        stack.enter_context(polyrank.lockstep(num_ranks))
        model, inputs = make()
        rank = dist.get_rank()
        inputs = inputs + rank if inputs.is_floating_point() else (inputs + rank) % 256
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        if watched:  # as the first run of `polyrank check agreement` watches
            stack.enter_context(launches_told())
            stack.enter_context(polyrank.agreement(operators=False))

        def step() -> float:
            start = time.thread_time()
            optimizer.zero_grad()
            model(inputs).float().square().mean().backward()
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad, op=dist.ReduceOp.AVG)
            optimizer.step()
            return time.thread_time() - start

        return [step() for _ in range(num_steps + 2)][2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--only", choices=["mlp", "llama"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | ranks | step, ms | watched |\n|---|---|---|---|")
    for make, num_steps in ((mlp, 40), (llama, 6)):
        for num_ranks in args.ranks if args.only in (None, make.__name__) else ():
            steps: dict[bool, list[float]] = {False: [], True: []}
            for number in range(args.rounds):
                for watched in (bool(number % 2), not number % 2):
                    steps[watched] += seconds_of_steps(
                        make, num_ranks, watched=watched, num_steps=num_steps
                    )
            plain, watched_ = (statistics.quantiles(steps[w], n=4)[0] for w in (False, True))
            cells = f"{num_ranks} | {plain * 1e3:.1f} | {watched_ / plain:.3f}"
            print(f"| {make.__name__} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
