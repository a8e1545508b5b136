"""`polyrank.agreement()` and `polyrank check agreement`: what they say, and of what they say nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from page_text import page_without_scripts
from polyrank.divergence.finding import Finding
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "divergence_programs" / "agreement"


def train(*, reduces: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        loss = model(torch.ones(1, 2) * dist.get_rank()).square().sum()
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            if reduces:
                dist.all_reduce(parameter.grad)
        optimizer.step()


def in_lockstep(program: Callable[[], None], **options: object) -> list[Finding]:
    with polyrank.lockstep(4), polyrank.agreement(raises=False, **options) as watched:
        program()
    return watched.findings


def on_threads(program: Callable[[], None], **options: object) -> list[Finding]:
    def run() -> list[Finding]:
        with polyrank.agreement(raises=False, **options) as watched:
            program()
        return watched.findings

    return polyrank.run_ranks(run, 4)[-1]


WORLDS = pytest.mark.parametrize("run", [in_lockstep, on_threads])


@WORLDS
def test_a_missing_reduction_is_named(run: Callable[..., list[Finding]]) -> None:
    [finding] = run(lambda: train(reduces=False))
    assert finding.subject == "parameter weight"
    assert finding.others == ["parameter bias"]
    assert finding.ranks == [0, 1, 2, 3]
    assert finding.operation == "aten::add_"
    assert finding.site.phase == "optimizer"
    assert Path(finding.site.file).name == "test_agreement.py"
    assert "a reduction over ranks 0-3 is missing" in finding.cause
    assert "aten::mm" in finding.cause
    assert [held.ranks for held in finding.held] == [[0], [1], [2], [3]]


@WORLDS
def test_reduced_gradients_raise_no_alarm(run: Callable[..., list[Finding]]) -> None:
    assert run(lambda: train(reduces=True)) == []


@WORLDS
def test_without_operators_the_tensor_is_named(run: Callable[..., list[Finding]]) -> None:
    findings = run(lambda: train(reduces=False), operators=False)
    assert findings[0].subject == "parameter weight"
    assert findings[0].when == "optimizer step 1"
    assert "not looked for" in findings[0].operation
    assert findings[0].site.line > 0


@WORLDS
def test_ignored_names_may_differ(run: Callable[..., list[Finding]]) -> None:
    assert run(lambda: train(reduces=False), ignore=["weight", "bi*"]) == []


def declaring() -> None:
    x = torch.ones(2) * dist.get_rank()
    polyrank.expect_equal(x * 0, name="zeros")
    dist.all_reduce(x)
    polyrank.expect_equal(x, name="sum")
    polyrank.expect_equal(x + dist.get_rank(), name="shifted")


@WORLDS
def test_declared_tensors_are_compared(run: Callable[..., list[Finding]]) -> None:
    [finding] = run(declaring)
    assert finding.subject.startswith("tensor shifted at test_agreement.py:")
    assert finding.operation == "aten::add"
    assert finding.held[1].value == "[7, 7]"


def test_a_declaration_outside_of_a_block_does_nothing() -> None:
    polyrank.expect_equal(torch.ones(1))


def test_the_block_raises() -> None:
    with (
        pytest.raises(
            polyrank.DivergenceError, match=r"(?s)parameter weight.*ranks 0-3 is missing"
        ),
        polyrank.lockstep(4),
        polyrank.agreement(),
    ):
        train(reduces=False)


def test_a_block_without_ranks_is_refused() -> None:
    with pytest.raises(polyrank.UsageError, match="no ranks run"), polyrank.agreement():
        pass


def updating_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    for _ in range(3):
        model.zero_grad()
        model(torch.ones(1, 2) * dist.get_rank()).square().sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)


@WORLDS
def test_updates_without_an_optimizer_are_watched(run: Callable[..., list[Finding]]) -> None:
    findings = run(updating_by_hand)
    assert findings[0].operation == "aten::sub_"
    assert "a reduction over ranks 0-3 is missing" in findings[0].cause


def test_the_command_writes_what_it_found(tmp_path: Path) -> None:
    report = tmp_path / "found.json"
    command = [sys.executable, "-m", "polyrank", "check", "agreement", "--ranks", "4"]
    program = str(FOLDER / "left_out_of_reduction.py")
    page = tmp_path / "found.html"
    written = ["--json", str(report), "--html", str(page)]
    ended = subprocess.run(
        [*command, *written, program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 113, ended.stderr
    assert "parameter 0.weight should be the same on ranks 0-3" in ended.stderr
    [finding] = json.loads(report.read_text())["findings"]
    assert finding["operation"] == "aten::add_"
    picture = page_without_scripts(page)
    assert "aten::add_" in picture
    assert "parameter 0.weight parts" in picture
    ended = subprocess.run(
        [*command, program, "right"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "no rank parts" in ended.stderr
