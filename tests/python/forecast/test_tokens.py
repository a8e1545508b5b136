"""Tokens a second where the program's embedding tells batch and length."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
from polyrank.forecast.tokens import Tokens
from torch import nn
from torch.utils.checkpoint import checkpoint

BATCH, LENGTH, WIDTH = 3, 64, 32


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {"position": nn.Embedding(LENGTH, WIDTH), "token": nn.Embedding(100, WIDTH)}
        )
        self.output = nn.Linear(WIDTH, 100)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(LENGTH, device=tokens.device)
        x = self.embeddings["position"](positions) + self.embeddings["token"](tokens)
        result: torch.Tensor = self.output(x)
        return result


def tokens_of(program: Callable[[nn.Module], None], tokens: int | None = None) -> Tokens | None:
    with polyrank.forecast(time=True, tokens=tokens) as f:
        program(Model().cuda())
    if f.time.tokens is not None:
        rate = f.time.tokens.count / f.time.steady.seconds
        assert f.time.tokens_per_second == pytest.approx(rate)
        assert f.time.tokens.source in f.report()
    return f.time.tokens


def batch(size: int = BATCH) -> torch.Tensor:
    return torch.zeros(size, LENGTH, dtype=torch.int64, device="cuda")


def steps(model: nn.Module, microbatches: int = 1) -> None:
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(2):
        for _ in range(microbatches):
            model(batch()).sum().backward()
        with torch.no_grad():
            model(batch(7))  # validation
        optimizer.step()


def test_a_steps_tokens_are_what_the_token_embedding_is_given() -> None:
    assert tokens_of(steps) == Tokens(BATCH * LENGTH, "what embeddings.token is given")


def test_microbatches_add_up() -> None:
    told = tokens_of(lambda model: steps(model, microbatches=4))
    assert told == Tokens(4 * BATCH * LENGTH, "what embeddings.token is given in 4 forwards")


def test_what_backward_runs_once_more_does_not_count() -> None:
    def checkpointed(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters())
        checkpoint(model, batch(), use_reentrant=False).sum().backward()
        optimizer.step()

    told = tokens_of(checkpointed)
    assert told is not None
    assert told.count == BATCH * LENGTH


def test_without_steps_the_whole_run_counts() -> None:
    @torch.no_grad()
    def generate(model: nn.Module) -> None:
        for _ in range(5):
            model(batch())

    told = tokens_of(generate)
    assert told is not None
    assert told.count == 5 * BATCH * LENGTH


def test_the_caller_knows_better() -> None:
    assert tokens_of(steps, tokens=10) == Tokens(10, "the caller")


def test_programs_that_do_not_tell_have_none() -> None:
    def images(_: nn.Module) -> None:
        nn.Linear(4, 4).cuda()(torch.empty(8, 4, device="cuda")).sum().backward()

    def packed(model: nn.Module) -> None:
        model(batch()).sum().backward()
        model.embeddings["token"](torch.zeros(5, dtype=torch.int64, device="cuda")).sum().backward()  # type: ignore[index,operator]

    assert tokens_of(images) is None
    assert tokens_of(packed) is None
