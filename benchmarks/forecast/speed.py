"""How fast forecasts run: an operator beside the meta kernel, and a block beside FakeTensorMode."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "llama"))
from model import ModelConfig, Transformer

OPERATORS, REPEATS = 2000, 7
TOKENS = 512


def fastest(use: Callable[[], Any]) -> float:
    """Seconds of the CPU, of several."""
    took = []
    for _ in range(REPEATS):
        begun = time.process_time()
        use()
        took.append(time.process_time() - begun)
    return min(took)


def calls(operator: Callable[[Tensor, Tensor], Tensor], device: str) -> Callable[[], None]:
    x = torch.empty(64, 64, device=device)

    def call() -> None:
        for _ in range(OPERATORS):
            operator(x, x)

    return call


def forward_and_backward(device: str) -> Callable[[], None]:
    config = ModelConfig(
        vocab_size=1000,
        dim=1024,
        num_layers=1,
        num_heads=8,
        num_kv_heads=8,
        hidden_dim=2816,
        max_seq_len=TOKENS,
    )
    with torch.device(device):
        model = Transformer(config)
        tokens = torch.zeros(1, TOKENS, dtype=torch.int64)
    return lambda: model(tokens).sum().backward()


def main() -> None:
    over_meta = fastest(calls(torch.add, "meta"))
    with polyrank.forecast():
        plain = fastest(calls(torch.add, "cuda"))
        product = fastest(calls(torch.mm, "cuda"))
        block = fastest(forward_and_backward("cuda"))
    with polyrank.forecast(time=True):
        timed = fastest(calls(torch.add, "cuda"))
        timed_product = fastest(calls(torch.mm, "cuda"))
    with FakeTensorMode():
        fake = fastest(forward_and_backward("cpu"))
    micro = 1e6 / OPERATORS
    for name, took, with_times in (
        ("an addition", plain, timed),
        ("a matmul", product, timed_product),
    ):
        print(
            f"{name} on a GPU without bytes: {took * micro:.2f} us; "
            f"with times {with_times * micro:.2f} us"
        )
    print(f"on the meta device, each time by its shape function: {over_meta * micro:.1f} us")
    print(f"a Llama block's forward and backward: {block * 1e3:.1f} ms")
    print(f"FakeTensorMode takes {fake / block:.1f} times as long")


if __name__ == "__main__":
    main()
