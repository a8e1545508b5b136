"""Random streams that part: at which draw, and when that is a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.divergence.agreement import Agreement
from torch import nn

Program = Callable[[], None]


def in_lockstep(program: Program) -> Agreement:
    with polyrank.lockstep(4), polyrank.agreement(raises=False) as watched:
        program()
    return watched


def on_threads(program: Program) -> Agreement:
    def run() -> Agreement:
        with polyrank.agreement(raises=False) as watched:
            program()
        return watched

    found = polyrank.run_ranks(run, 4)[-1]
    assert isinstance(found, Agreement)
    return found


WORLDS = pytest.mark.parametrize("run", [in_lockstep, on_threads])


def line_of(marker: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


def drawing_apart() -> None:
    torch.manual_seed(0)
    torch.rand(3)
    torch.rand(dist.get_rank() + 1)  # parts
    torch.rand(3)
    polyrank.expect_equal(torch.default_generator)


@WORLDS
def test_a_declared_generator_is_told_at_the_draw_that_parts_it(
    run: Callable[[Program], Agreement],
) -> None:
    [finding] = run(drawing_apart).findings
    assert finding.subject.startswith("random stream generator at test_streams.py:")
    assert (finding.operation, finding.site.line) == ("aten::rand", line_of("parts"))
    assert "draw different numbers of values" in finding.cause
    assert finding.ranks == [0, 1, 2, 3]
    assert [held.ranks for held in finding.held] == [[0], [1], [2], [3]]


def seeding_apart() -> None:
    torch.manual_seed(dist.get_rank())
    torch.rand(2)  # first
    polyrank.expect_equal(torch.get_rng_state(), name="state")


@WORLDS
def test_a_declared_state_that_was_seeded_apart_is_told_at_the_first_draw(
    run: Callable[[Program], Agreement],
) -> None:
    [finding] = run(seeding_apart).findings
    assert finding.subject.startswith("random stream state at")
    assert finding.site.line == line_of("first")
    assert "were seeded differently before this line" in finding.cause


def seeding_alike_again() -> None:
    drawing_apart_quietly()
    torch.manual_seed(1)
    torch.rand(2)
    polyrank.expect_equal(torch.default_generator)


def drawing_apart_quietly() -> None:
    torch.manual_seed(0)
    torch.rand(dist.get_rank() + 1)


@WORLDS
def test_a_stream_that_is_seeded_alike_begins_anew(run: Callable[[Program], Agreement]) -> None:
    assert run(seeding_alike_again).findings == []


def generators_of_the_programs_own() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(2, generator=generator)
    polyrank.expect_equal(generator)
    if dist.get_rank() == 1:
        torch.randn(2, generator=generator)  # alone
    polyrank.expect_equal(generator, name="later")


def test_a_generator_of_the_programs_own_is_told_at_the_draw_of_one_rank() -> None:
    [finding] = on_threads(generators_of_the_programs_own).findings
    assert finding.subject.startswith("random stream later at")
    assert (finding.operation, finding.site.line) == ("aten::randn", line_of("alone"))
    assert "rank 1 draws from its random stream, and rank 0 does not" in finding.cause


def training_with_uneven_dropout() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        x = torch.ones(dist.get_rank() + 1, 2)
        loss = nn.functional.dropout(model(x), 0.5).square().sum()  # uneven
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
        optimizer.step()


@WORLDS
def test_streams_that_part_are_no_fault_by_themselves(
    run: Callable[[Program], Agreement],
) -> None:
    watched = run(training_with_uneven_dropout)
    assert watched.findings == []
    [drift] = watched.drifts
    assert drift.subject == "random stream of the CPU"
    assert drift.site.line == line_of("uneven")


def training_with_seeds_of_each_rank(epoch_seed: Callable[[int], int]) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(10 + dist.get_rank())
    for epoch in range(2):
        if epoch:
            torch.manual_seed(epoch_seed(epoch))
        for _ in range(2):
            hidden = nn.functional.dropout(model(torch.ones(3, 2)), 0.5)  # masks
            optimizer.zero_grad()
            hidden.square().sum().backward()
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
            optimizer.step()


@WORLDS
def test_streams_that_are_seeded_alike_after_they_differed_are_told(
    run: Callable[[Program], Agreement],
) -> None:
    watched = run(lambda: training_with_seeds_of_each_rank(lambda epoch: epoch))
    assert watched.findings == []
    [drift] = watched.drifts
    assert drift.subject == "random stream of the CPU"
    assert drift.site.line == line_of("masks")
    assert "draw the same from here on, and drew differently up to" in drift.cause
    watched = run(
        lambda: training_with_seeds_of_each_rank(lambda epoch: epoch * 8 + dist.get_rank())
    )
    assert (watched.findings, watched.drifts) == ([], [])


def test_what_is_neither_tensor_nor_generator_is_refused() -> None:
    with pytest.raises(polyrank.UsageError, match=r"tensors and torch\.Generators, not int"):
        polyrank.expect_equal(3)  # type: ignore[arg-type]
