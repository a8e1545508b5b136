"""Small programs that go silently wrong: each fault is named, and no twin raises an alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import PROGRAMS, Program

ROOT = Path(__file__).resolve().parents[3]

CASES = [
    pytest.param(program, world, id=f"{program.file.stem}-{world}")
    for program in PROGRAMS
    for world in program.worlds
]
Checked = dict[tuple[str, str, str], dict[str, Any]]


@pytest.mark.parametrize(("program", "world"), CASES)
def test_the_fault_is_named_at_its_operation_and_line(
    checked: Checked, program: Program, world: str
) -> None:
    told = checked[world, program.file.stem, "wrong"]
    assert told["exit_code"] == 0, told["failure"]
    assert told["findings"], told
    first = told["findings"][0]
    assert (first["operation"], first["site"]["line"]) == (program.operation, program.line), told[
        "texts"
    ]
    assert first["site"]["file"] == str(program.file)
    held = [rank for entry in first["held"] for rank in entry["ranks"]]
    assert sorted(held) == first["ranks"]
    assert len(first["held"]) > 1


@pytest.mark.parametrize(("program", "world"), CASES)
def test_the_right_twin_raises_no_alarm(checked: Checked, program: Program, world: str) -> None:
    told = checked[world, program.file.stem, "right"]
    assert told["exit_code"] == 0, told["failure"]
    assert told["texts"] == []
    assert told["watched"]


def test_the_page_lists_the_programs() -> None:
    page = (ROOT / "docs" / "divergence.md").read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert [name for name in listed if "." not in name] == [p.file.stem for p in PROGRAMS]
