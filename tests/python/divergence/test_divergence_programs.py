"""Small programs that go silently wrong: each fault is named, and no twin raises an alarm."""

from __future__ import annotations

from pathlib import Path

from polyrank.divergence.checking import Checked, check_agreement
from polyrank.divergence.reference.checking import check_reference
from polyrank.divergence.reference.report import CheckedReference
from programs_of_faults import AGREEMENT, REFERENCE, WITHOUT_FAULT, Program, cases

ROOT = Path(__file__).resolve().parents[3]


def agreement(program: Program, world: str, argument: str) -> Checked:
    checked = check_agreement(program.options(world, argument))
    assert checked.outcome.exit_code == 0, checked.outcome.failure
    return checked


def beside_reference(program: Program, world: str, argument: str) -> CheckedReference:
    checked = check_reference(
        program.options(world, argument), program.options(world, argument, num_ranks=1)
    )
    for outcome in (checked.program, checked.reference):
        assert outcome.exit_code == 0, outcome.failure
    return checked


@cases(AGREEMENT)
def test_the_fault_is_named_at_its_operation_and_line(program: Program, world: str) -> None:
    findings = agreement(program, world, "wrong").findings
    assert findings
    first = findings[0]
    assert (first.operation, first.site.line) == (program.operation, program.line), first.text()
    assert first.site.file == str(program.file)
    assert sorted(rank for held in first.held for rank in held.ranks) == first.ranks
    assert len(first.held) > 1


@cases([*AGREEMENT, *WITHOUT_FAULT])
def test_a_right_program_raises_no_alarm(program: Program, world: str) -> None:
    checked = agreement(program, world, "right")
    assert [finding.text() for finding in checked.findings] == []
    assert checked.meeting.watched


@cases(REFERENCE)
def test_where_a_program_leaves_its_reference_is_named(program: Program, world: str) -> None:
    checked = beside_reference(program, world, "wrong")
    bug = checked.comparison.bug
    assert bug is not None, checked.text()
    assert checked.culprit is not None, checked.text()
    operation = checked.culprit.operation
    place = operation.made_by or operation.place
    assert (operation.name, place.line) == (program.operation, program.line), checked.text()
    assert place.file == str(program.file)
    # Both numbers are computed, and lie far apart.
    assert bug.error > 1000 * bug.rounding
    assert checked.to_dict()["verdict"] == "bug"


@cases(REFERENCE)
def test_what_is_the_reference_up_to_rounding_is_called_so(program: Program, world: str) -> None:
    checked = beside_reference(program, world, "right")
    assert checked.comparison.bug is None, checked.text()
    assert len(checked.comparison.differences) > 4
    worst = checked.comparison.worst
    assert worst is not None
    assert worst.error <= worst.allowed
    assert checked.to_dict()["verdict"] == "rounding"


def test_the_page_lists_the_programs() -> None:
    page = (ROOT / "docs" / "divergence.md").read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    programs = [program.file.stem for program in [*AGREEMENT, *REFERENCE]]
    assert [name for name in listed if "." not in name] == programs
