"""What a comparison with a reference is told as."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from polyrank.divergence.finding import site_of
from polyrank.divergence.reference.checking import CheckedReference
from polyrank.divergence.reference.compare import Difference

__all__ = ["document_of", "text_of"]

SCHEMA_VERSION = 1
_MOST_UNPAIRED = 8


def text_of(checked: CheckedReference) -> str:
    """All of it, as lines."""
    failures = checked.program.failure + checked.reference.failure
    if checked.program.exit_code or checked.reference.exit_code:
        which = "the program" if checked.program.exit_code else "the reference"
        return f"{failures}{which} failed, so that nothing was compared\n"
    comparison = checked.comparison
    bug, worst = comparison.bug, comparison.worst
    if bug is not None:
        lines = [f"bug: {bug.what} is not the reference's", *_rows(checked, bug)]
    elif worst is not None:
        lines = [
            f"rounding: {len(comparison.differences):,} values are the reference's up to rounding",
            f"  the most is {worst.error:.3g} of {worst.what}, where rounding may do {worst.allowed:.3g}",
        ]
    else:
        lines = ["nothing was compared: no module ran in both, and no optimizer stepped"]
    unpaired = comparison.unpaired
    lines += [f"not compared: {entry}" for entry in unpaired[:_MOST_UNPAIRED]]
    if len(unpaired) > _MOST_UNPAIRED:
        lines.append(f"not compared: {len(unpaired) - _MOST_UNPAIRED:,} more")
    return failures + "\n".join(lines) + "\n"


def _rows(checked: CheckedReference, bug: Difference) -> list[str]:
    rows = [
        ("off by", f"{bug.error:.6g}"),
        (
            "rounding",
            f"{bug.rounding:.3g} in the reference; {bug.allowed:.3g} would be taken for it",
        ),
    ]
    culprit = checked.culprit
    if culprit is None:
        rows.append(("operation", "not found: no operator that was recorded made the value"))
    else:
        place = culprit.operation.made_by or culprit.operation.place
        rows += [
            ("operation", culprit.operation.name),
            ("line", str(site_of(culprit.operation.place))),
        ]
        if culprit.operation.made_by is not None:
            rows.append(("of", str(site_of(place))))
        rows += [("operand", operand) for operand in culprit.operands]
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {value}" for name, value in rows]


def document_of(checked: CheckedReference) -> dict[str, Any]:
    """For a JSON file."""
    comparison, culprit = checked.comparison, checked.culprit

    def told(difference: Difference | None) -> dict[str, Any] | None:
        if difference is None:
            return None
        return {**asdict(difference), "what": str(difference.what), "is_bug": difference.is_bug}

    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": "bug" if comparison.bug else "rounding",
        "exit_codes": [checked.program.exit_code, checked.reference.exit_code],
        "bug": told(comparison.bug),
        "worst": told(comparison.worst),
        "operation": None
        if culprit is None
        else {
            "name": culprit.operation.name,
            "site": asdict(site_of(culprit.operation.place)),
            "made_by": None
            if culprit.operation.made_by is None
            else asdict(site_of(culprit.operation.made_by)),
            "operands": culprit.operands,
        },
        "num_compared": len(comparison.differences),
        "unpaired": comparison.unpaired,
    }
