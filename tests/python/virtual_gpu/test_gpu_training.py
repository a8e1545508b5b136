"""Training on a virtual GPU gives the CPU's bits: forward, backward, optimizers, autocast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.view(-1, 2, 4, 4)).flatten(1))  # type: ignore[no-any-return]


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(10, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(self.lstm(x.view(-1, 4, 8))[0])[0]  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.norm = nn.RMSNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.encoder(x.view(-1, 4, 8)))
        q = x.unflatten(-1, (2, 4)).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, is_causal=True)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 3))


MODELS: list[Callable[[], nn.Module]] = [_mlp, _Convolutions, _Recurrent, _Attention]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "adamw for loops": lambda p: torch.optim.AdamW(p, 0.01, foreach=False),
    "adam fused": lambda p: torch.optim.Adam(p, 0.01, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, foreach=True),
}


def trained(
    device: str,
    model: Callable[[], nn.Module],
    optimizer: Callable[..., torch.optim.Optimizer],
    forward: Callable[[nn.Module, Tensor], Tensor] = lambda layer, x: layer(x),
) -> list[Tensor]:
    """Losses, and the parameters after three steps, on the CPU."""
    torch.manual_seed(0)
    layer = model().to(device)
    x = torch.rand(6, 32).to(device)
    opt = optimizer(layer.parameters())
    torch.manual_seed(1)
    losses = []
    for _ in range(3):
        loss = forward(layer, x).float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        opt.step()
        opt.zero_grad()
        losses.append(loss.detach())
    return [t.detach().cpu() for t in (*losses, *layer.parameters(), *layer.buffers())]


def assert_same_bits(on_gpu: list[Tensor], on_cpu: list[Tensor]) -> None:
    assert len(on_gpu) == len(on_cpu)
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        assert torch.equal(gpu, cpu)


@pytest.mark.parametrize("model", MODELS)
def test_models(model: Callable[[], nn.Module]) -> None:
    sgd = OPTIMIZERS["sgd"]
    assert_same_bits(trained("cuda:1", model, sgd), trained("cpu", model, sgd))


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    assert_same_bits(trained("cuda", _mlp, optimizer), trained("cpu", _mlp, optimizer))


def test_checkpointing_draws_again_what_it_drew() -> None:
    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(layer, x, use_reentrant=False)  # type: ignore[no-any-return]

    sgd = OPTIMIZERS["sgd"]
    assert_same_bits(trained("cuda", _mlp, sgd, forward), trained("cuda", _mlp, sgd))


def test_autocast() -> None:
    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = layer(x)
            assert y.dtype == torch.bfloat16
            assert F.softmax(y, -1).dtype == torch.float32
            return F.mse_loss(y, torch.zeros_like(y))

    losses = trained("cuda", _mlp, OPTIMIZERS["sgd"], forward)
    assert all(loss.isfinite().all() for loss in losses)


def test_grad_scaler_skips_a_step_that_overflows() -> None:
    weight = nn.Parameter(torch.ones(2, device="cuda"))
    opt = torch.optim.SGD([weight], 1.0)
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
    scaler.scale((weight * float("inf")).sum()).backward()
    scaler.step(opt)
    scaler.update()
    assert weight.tolist() == [1, 1]
    assert scaler.get_scale() == 4.0


def test_half_to_float_softmax_is_the_cpus() -> None:
    x = torch.rand(3, 4, dtype=torch.float16)
    for function in (F.softmax, F.log_softmax):
        expected: Any = function(x, -1, dtype=torch.float32)
        assert torch.equal(function(x.cuda(), -1, dtype=torch.float32).cpu(), expected)


@pytest.mark.parametrize("change", ["operand", "result"])
def test_what_attention_saved_may_not_be_changed(change: str) -> None:
    for device in ("cpu", "cuda"):
        x = torch.rand(2, 3, 4, 8, device=device, requires_grad=True)
        q = x * 2
        result = F.scaled_dot_product_attention(q, q, q)
        with torch.no_grad():
            (q if change == "operand" else result).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()


def test_backward_on_a_thread_of_the_program() -> None:
    import threading

    weight = torch.ones(3, device="cuda", requires_grad=True)
    thread = threading.Thread(target=lambda: (weight * 2).sum().backward())
    thread.start()
    thread.join()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2, 2, 2]
