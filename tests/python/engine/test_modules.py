"""Layers of torch.nn, trained for a step, give each rank what it gets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import num_cohorts
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import rnn

# Each with the shape of its input.
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(6, 3), (4, 6)),
    "Bilinear": (lambda: _Twice(nn.Bilinear(6, 6, 3)), (4, 6)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3, padding=1), (2, 3, 8)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, stride=2, groups=2), (2, 2, 7, 7)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2), (1, 2, 3, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), (5, 6)),
    "BatchNorm2d in eval": (lambda: nn.BatchNorm2d(2).eval(), (3, 2, 2, 2)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (3, 4, 2)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(3, track_running_stats=True), (2, 3, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(6), (4, 6)),
    "RMSNorm": (lambda: nn.RMSNorm(6), (4, 6)),
    "MultiheadAttention": (lambda: _Attention(6, 2), (2, 5, 6)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        (2, 5, 6),
    ),
    "TransformerEncoderLayer in eval": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True).eval(),
        (2, 5, 6),
    ),
    "LSTM": (lambda: _First(nn.LSTM(6, 4, 2, batch_first=True, dropout=0.2)), (2, 3, 6)),
    "GRU": (lambda: _First(nn.GRU(6, 4, bidirectional=True)), (2, 3, 6)),
    "RNN": (lambda: _First(nn.RNN(6, 4)), (2, 3, 6)),
    "LSTMCell": (lambda: _First(nn.LSTMCell(6, 4)), (2, 6)),
    "pooling": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)), (2, 3, 4, 4)),
    "activations": (lambda: nn.Sequential(nn.GELU(), nn.SiLU(), nn.PReLU(), nn.GLU()), (4, 6)),
    "Dropout": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)), (4, 6)),
    "weight_norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), (4, 6)),
    "spectral_norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3)), (4, 6)),
    "orthogonal": (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)), (4, 6)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 3)),
}


class _First(nn.Module):
    """The first of a module's results."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.module(x)[0]
        return result


class _Twice(nn.Module):
    """A module that takes its input twice."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.module(x, x)
        return result


class _Attention(nn.Module):
    """Self-attention."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, num_heads, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attention(x, x, x)[0]
        return result


def train_a_step(make: Callable[[], nn.Module]) -> Callable[[Tensor], Any]:
    """The program that makes a module, runs it on its argument and takes a step of SGD."""

    def program(x: Tensor) -> Any:
        torch.manual_seed(0)
        module = make()
        optimizer = torch.optim.SGD([*module.parameters(), torch.nn.Parameter(x * 0)], lr=0.1)
        out = module(x)
        out.sigmoid().sum().backward()
        optimizer.step()
        gradients = [parameter.grad for parameter in module.parameters()]
        return out, x.grad, gradients, module.state_dict()

    return program


@pytest.mark.parametrize("make_input", [distinct, mixed, shared])
@pytest.mark.parametrize("name", MODULES)
def test_a_step_of_training(name: str, make_input: Callable[..., Argument]) -> None:
    make, shape = MODULES[name]
    assert_as_alone(train_a_step(make), make_input(*shape, requires_grad=True))


def test_replicated_modules_stay_one_cohort_on_shared_input() -> None:
    for make, shape in MODULES.values():
        _, _, gradients, state = assert_as_alone(
            train_a_step(make), shared(*shape, requires_grad=True)
        )
        assert {num_cohorts(t) for t in [*gradients, *state.values()] if t is not None} <= {1}


def test_running_statistics_are_those_of_each_rank() -> None:
    def program(x: Tensor, mean: Tensor, variance: Tensor) -> Any:
        out = functional.batch_norm(x, mean, variance, training=True, momentum=0.5)
        return out, mean, variance

    for statistics in (shared, mixed, distinct):
        mean, variance = statistics(6), statistics(6, seed=1)
        assert_as_alone(program, distinct(5, 6, seed=2), mean, variance)
        assert_as_alone(program, shared(5, 6, seed=2), mean, variance, in_mode=False)


def test_embeddings() -> None:
    def program(weight: Tensor, index: Tensor) -> Any:
        out = functional.embedding(index, weight)
        bags = functional.embedding_bag(index.view(2, -1), weight, mode="mean")
        loss = out.exp().sum() + bags.exp().sum()
        return out, bags, torch.autograd.grad(loss, weight)

    index = distinct(4, dtype=torch.int64)
    assert_as_alone(program, shared(10, 3, requires_grad=True), index)
    assert_as_alone(program, distinct(10, 3, requires_grad=True), index)


def test_embedding_that_renormalizes_its_weight() -> None:
    def program(weight: Tensor, index: Tensor) -> Any:
        return functional.embedding(index, weight, max_norm=0.5), weight

    assert_as_alone(program, shared(10, 3), distinct(4, dtype=torch.int64))


def test_losses() -> None:
    def program(x: Tensor, y: Tensor, labels: Tensor) -> Any:
        probabilities = x.softmax(-1)
        losses = [
            functional.mse_loss(x, y),
            functional.smooth_l1_loss(x, y),
            functional.cross_entropy(x, labels, label_smoothing=0.1),
            functional.nll_loss(probabilities.log(), labels, weight=y[0].abs()),
            functional.binary_cross_entropy_with_logits(x, y.sigmoid()),
            functional.kl_div(probabilities.log(), y.softmax(-1), reduction="batchmean"),
            functional.cosine_embedding_loss(x, y, torch.ones(4)),
            functional.triplet_margin_loss(x, y, x.flip(0)),
            functional.multi_margin_loss(x, labels),
        ]
        return losses, torch.autograd.grad(sum(losses), x)

    labels = each(*[torch.tensor([r % 3, 2, 1, 0]) for r in range(4)])
    for make in (distinct, mixed, shared):
        assert_as_alone(program, make(4, 3, requires_grad=True), shared(4, 3, seed=1), labels)


def test_cross_entropy_that_ignores_some_labels_on_some_ranks() -> None:
    def program(x: Tensor, labels: Tensor) -> Any:
        loss = functional.cross_entropy(x, labels, ignore_index=-100)
        return loss, torch.autograd.grad(loss, x)

    labels = each(*[torch.tensor([0, 1, -100, -100][: 4 - r] + [2] * r) for r in range(4)])
    assert_as_alone(program, shared(4, 3, requires_grad=True), labels)


@pytest.mark.xfail(
    strict=True,
    raises=RuntimeError,
    reason="lstm.data reads the batch sizes off the memory of a tensor, above our kernel: refused",
)
def test_packed_sequences() -> None:
    def program(x: Tensor) -> Any:
        torch.manual_seed(0)
        lstm = nn.LSTM(3, 4, batch_first=True)
        lengths = torch.tensor([4, 2])
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True)
        out, (hidden, _) = lstm(packed)
        return rnn.pad_packed_sequence(out, batch_first=True)[0], hidden

    assert_as_alone(program, distinct(2, 4, 3))


def test_ctc_loss_with_lengths_in_tensors() -> None:
    def program(x: Tensor, targets: Tensor) -> Any:
        lengths = torch.full((2,), 6), torch.tensor([2, 3])
        loss = functional.ctc_loss(x.log_softmax(-1), targets + 1, *lengths)
        return loss, torch.autograd.grad(loss, x)

    targets = each(*[torch.tensor([[0, 1, 2], [2, r % 3, 1]]) for r in range(4)])
    assert_as_alone(program, distinct(6, 2, 4, requires_grad=True), targets)
