"""What is compiled runs uncompiled in forecasts, module by module, and goes by its modules' own names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import polyrank
import pytest
import torch
from polyrank.forecast.memory import Memory
from polyrank.virtual_gpu import uncompiled
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.attention.flex_attention import flex_attention

WIDTH = 64


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x.relu() + layer(x)
        return x


def memory_of(wrap: Callable[[Net], nn.Module]) -> tuple[Memory, set[str]]:
    """Of a step; and the modules in whose name something was allocated."""
    with polyrank.forecast() as f:
        model = wrap(Net().cuda())
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.empty(8, WIDTH, device="cuda")).sum().backward()
        optimizer.step()
    return f.memory, {piece.module for piece in f.history.pieces()}


def compiled_whole(model: Net) -> nn.Module:
    return torch.compile(model, fullgraph=True)  # type: ignore[return-value]


def compiled_in_place(model: Net) -> nn.Module:
    model.compile()
    return model


def layers_wrapped(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[Net], nn.Module]:
    def wrapped(model: Net) -> nn.Module:
        for index, layer in enumerate(model.layers):
            model.layers[index] = wrap(layer)
        return model

    return wrapped


@pytest.mark.parametrize(
    "wrap",
    [compiled_whole, compiled_in_place, layers_wrapped(torch.compile)],  # type: ignore[arg-type]
)
def test_modules_that_are_compiled_keep_their_names_and_their_memory(
    wrap: Callable[[Net], nn.Module],
) -> None:
    plain, modules = memory_of(lambda model: model)
    compiled, same_modules = memory_of(wrap)
    assert {"Net", "layers.0.0", "layers.1.0"} <= modules
    assert same_modules == modules
    assert compiled.peak_allocated == plain.peak_allocated
    assert compiled.peak is not None
    assert plain.peak is not None
    assert compiled.peak.by_module == plain.peak.by_module


def test_a_checkpoints_wrapper_is_not_in_the_names() -> None:
    _, modules = memory_of(layers_wrapped(checkpoint_wrapper))  # type: ignore[arg-type]
    assert not [module for module in modules if "wrapped" in module.lower()]
    assert "layers.1.0" in modules


def test_a_line_says_once_that_nothing_is_compiled() -> None:
    uncompiled._tell.cache_clear()
    with polyrank.forecast(), pytest.warns(UserWarning, match="runs uncompiled") as told:
        torch.compile(nn.Linear(2, 2, device="cuda"))
        torch.compile(nn.Linear(2, 2, device="cuda"))
    assert len(told) == 1


def test_attention_that_a_compiler_would_make_runs_by_its_operators() -> None:
    with polyrank.forecast():
        query = torch.empty(1, 2, 256, 64, device="cuda", requires_grad=True)
        compiled = torch.compile(flex_attention)
        output = compiled(query, query, query)
        output.sum().backward()
        assert output.shape == query.shape
        assert query.grad is not None


AFTER_BYTES = """
import polyrank, torch
with polyrank.virtual_gpu():
    torch.compile(torch.nn.Linear(4, 4), backend="eager")(torch.ones(1, 4))
    assert torch._dynamo.utils.counters["frames"]["ok"] == 1  # with bytes, the CPU's part is traced
with polyrank.forecast() as f:
    torch.compile(torch.nn.Linear(4, 4).cuda(), fullgraph=True)(torch.empty(1, 4, device="cuda"))
    assert torch._dynamo.utils.counters["frames"]["ok"] == 1
"""


def test_a_forecast_after_gpus_with_bytes_traces_nothing() -> None:
    subprocess.run([sys.executable, "-c", AFTER_BYTES], check=True, timeout=120)
