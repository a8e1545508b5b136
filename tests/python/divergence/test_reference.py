"""How pieces are found in a reference, what rounding does to it, and what the command says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from page_text import page_without_scripts
from polyrank.divergence.reference.pieces import families_of, largest_of, match
from polyrank.divergence.reference.rounding import in_double, in_pieces

FOLDER = Path(__file__).resolve().parents[2] / "divergence_programs" / "reference"
WHOLE = torch.arange(32.0).reshape(4, 8).sin()
PAIRS = [[(0, 1)]]


@pytest.mark.parametrize(
    ("pieces", "relation"),
    [
        ({0: WHOLE, 1: WHOLE}, "the same"),
        ({0: WHOLE[:2], 1: WHOLE[2:]}, "a part"),
        ({0: WHOLE[:, 2:4], 1: WHOLE[:, 6:]}, "a part"),
        ({0: WHOLE[:3], 1: WHOLE[3:]}, "a part"),
        ({0: WHOLE * 0.25, 1: WHOLE * 0.75}, "a part of a sum"),
        ({0: WHOLE[:2] - 1, 1: torch.ones(2, 8)}, "a part of a sum"),
    ],
)
def test_pieces_are_found(pieces: dict[int, torch.Tensor], relation: str) -> None:
    found = match(pieces, WHOLE, PAIRS)
    assert found is not None
    assert found.relation == relation
    assert found.error < 1e-6


@pytest.mark.parametrize(
    "pieces",
    [
        {0: WHOLE, 1: WHOLE + 1},
        {0: WHOLE * 2, 1: WHOLE * 2},
        {0: WHOLE[:2], 1: WHOLE[2:] + 0.5},
        {0: WHOLE[:2] * torch.nan, 1: WHOLE[2:]},
    ],
)
def test_what_is_off_is_not_found(pieces: dict[int, torch.Tensor]) -> None:
    found = match(pieces, WHOLE, PAIRS)
    assert found is not None
    assert not found.error < 0.4


def test_what_does_not_fit_is_no_match() -> None:
    assert match({0: torch.ones(5, 8), 1: torch.ones(5, 8)}, WHOLE, PAIRS) is None


def test_parts_of_an_average_have_the_factor_of_the_group() -> None:
    pieces = {0: WHOLE - 1, 1: WHOLE + 1}
    found = match(pieces, WHOLE, PAIRS, sums=(1.0, 2.0))
    assert found is not None
    assert (found.relation, found.factor) == ("a part of a sum", 2.0)
    assert found.error < 1e-6


def test_pieces_add_up_along_one_dimension_of_a_mesh() -> None:
    pieces = {0: WHOLE[:2] * 0.25, 1: WHOLE[:2] * 0.75, 2: WHOLE[2:] * 2, 3: -WHOLE[2:]}
    found = match(pieces, WHOLE, families_of(4))
    assert found is not None
    assert found.relation == "a part of a sum"
    assert found.error < 1e-6


def test_a_way_that_is_near_enough_is_taken() -> None:
    pieces = {0: WHOLE + 0.5, 1: -torch.full((4, 8), 0.5)}
    found = match(pieces, WHOLE, PAIRS, enough=10.0)
    assert found is not None
    assert (found.relation, found.error > 0.4) == ("the same", True)
    found = match(pieces, WHOLE, PAIRS, enough=0.1)
    assert found is not None
    assert found.relation == "a part of a sum"


def test_groups_are_those_of_a_mesh() -> None:
    assert families_of(4) == [[(0, 1), (2, 3)], [(0, 2), (1, 3)], [(0, 1, 2, 3)]]


def test_other_ways_of_computing_round_differently_and_no_more() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(64, 4096), torch.randn(4096, 64)
    usual = a @ b
    exact = a.double() @ b.double()
    with in_double():
        nearest = a @ b
    with in_pieces(4):
        split = a @ b
    assert torch.equal(nearest, exact.float())
    for other in (nearest, split):
        difference = float((other - usual).abs().max())
        assert 0 < difference < 1e-3


def test_random_numbers_are_those_of_the_reference() -> None:
    def draw() -> torch.Tensor:
        torch.manual_seed(0)
        return torch.nn.functional.dropout(torch.randn(64), 0.5)

    with in_double():
        assert torch.equal(draw(), draw())
    usual = draw()
    with in_double():
        assert torch.allclose(draw(), usual)


def test_the_command_takes_arguments_for_both(tmp_path: Path) -> None:
    report = tmp_path / "found.json"
    command = [sys.executable, "-m", "polyrank", "check", "reference", "--ranks", "4"]
    program = str(FOLDER / "bias_of_each_rank.py")
    page = tmp_path / "found.html"
    written = ["--json", str(report), "--html", str(page)]
    ended = subprocess.run(
        [*command, "--against", "1", *written, program, "--", "wrong", "|", "right"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 113, ended.stderr
    assert "bug: output of 1, step 1 is not the reference's" in ended.stderr
    assert "bias_of_each_rank.py:" in ended.stderr
    document = json.loads(report.read_text())
    assert document["verdict"] == "bug"
    assert document["operation"]["name"] == "aten::addmm"
    # From the module that is off first to what the loss is computed of.
    assert [told["what"] for told in document["path"]] == [
        "output of 1, step 1",
        "output of the model, step 1",
    ]
    assert "aten::addmm" in page_without_scripts(page)
    ended = subprocess.run(
        [*command, program, "right"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "are the reference's up to rounding" in ended.stderr


def test_a_reference_of_another_size_is_refused() -> None:
    command = [sys.executable, "-m", "polyrank", "check", "reference", "--ranks", "4"]
    ended = subprocess.run(
        [*command, "--against", "2", str(FOLDER / "averaged_twice.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "can't be paired" in ended.stderr


def test_numbers_that_many_sums_come_to_are_no_match() -> None:
    halves = {0: torch.full((4,), 0.25), 1: torch.full((4,), 0.75)}
    found = match(halves, torch.ones(4), PAIRS)
    assert found is None or found.error > 0.2
    scalars = {0: torch.tensor(0.25), 1: torch.tensor(0.75)}
    found = match(scalars, torch.tensor(1.0), PAIRS)
    assert found is not None
    assert found.error > 0.2
    found = match({0: torch.tensor(0.5), 1: torch.tensor(0.75)}, torch.tensor(1.25), PAIRS)
    assert found is not None
    assert (found.relation, found.error) == ("a part of a sum", 0)


def test_what_masks_is_not_the_largest_element() -> None:
    scores = torch.tensor([[1.0, -1e9, -1e9], [2.0, 3.0, -1e9]])
    assert largest_of(scores) == 3
    assert largest_of(torch.tensor([1.0, 1e9, 2.0])) == 1e9  # one large number masks nothing
    assert largest_of(torch.tensor([1e-3, 5e3, 5e3])) == 5e3
    assert largest_of(torch.tensor([2.0, -torch.inf])) == 2
    assert largest_of(torch.empty(0)) == 0


STEPS = """
import pathlib, sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)
for step in range(6):
    model(inputs).square().mean().backward()
    if step == int(sys.argv[1]):
        model.weight.grad.mul_(dist.get_world_size())
    optimizer.step()
    with pathlib.Path(sys.argv[2]).open("a") as told:
        told.write(f"{dist.get_world_size()} {dist.get_rank()} {step}\\n")
"""


@pytest.mark.parametrize("world", ["threads", "lockstep"])
@pytest.mark.parametrize("faulty_step", [1, 9])
def test_further_runs_end_after_the_step_in_question(
    tmp_path: Path, world: str, faulty_step: int
) -> None:
    file, told = tmp_path / "a program.py", tmp_path / "told"
    file.write_text(STEPS)
    command = [sys.executable, "-m", "polyrank", "check", "reference", "--world", world]
    ended = subprocess.run(
        [*command, "--ranks", "2", str(file), str(faulty_step), str(told)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (113 if faulty_step == 1 else 0), ended.stderr
    lines = told.read_text().splitlines()
    assert lines.count("1 0 5") == 1  # the reference came to its end once
    # What is off by far is asked in one other way of rounding.
    assert lines.count("1 0 0") == (2 if faulty_step == 1 else 1)
    last = [line for line in lines if line.startswith("2 ") and line.endswith(" 5")]
    assert last
    assert len(last) == len(set(last))  # and so did the program, on each rank
    if faulty_step == 1:
        assert "aten::mul_" in ended.stderr
        assert "step 2 is not the reference's" in ended.stderr
