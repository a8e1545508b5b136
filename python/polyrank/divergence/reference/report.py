"""What a comparison with a reference is told as."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from polyrank import exit_codes
from polyrank.divergence.finding import site_of
from polyrank.divergence.path_picture import Stop, path_picture
from polyrank.divergence.reference.compare import Comparison, Difference
from polyrank.divergence.reference.search import Culprit
from polyrank.divergence.report import Report, rows
from polyrank.worlds.outcome import Outcome

__all__ = ["CheckedReference"]

SCHEMA_VERSION = 1
_MOST_UNPAIRED = 8
_LEAST_SHARE = 1e-9  # of what rounding may do, that a logarithm shows


@dataclass(frozen=True)
class CheckedReference(Report):
    """What a check found."""

    program: Outcome
    reference: Outcome
    comparison: Comparison
    culprit: Culprit | None

    title = "A program beside its reference"

    @property
    def exit_code(self) -> int:
        failed = self.program.exit_code or self.reference.exit_code
        return failed or (exit_codes.DIVERGENCE if self.comparison.bug else 0)

    def text(self) -> str:
        failures = self.program.failure + self.reference.failure
        if self.program.exit_code or self.reference.exit_code:
            which = "the program" if self.program.exit_code else "the reference"
            return f"{failures}{which} failed, so that nothing was compared\n"
        comparison = self.comparison
        bug, worst = comparison.bug, comparison.worst
        if bug is not None:
            lines = [f"bug: {bug.what} is not the reference's", *rows(self._entries(bug))]
        elif worst is not None:
            most = f"{worst.error:.3g} of {worst.what}, where rounding may do {worst.allowed:.3g}"
            lines = [
                f"rounding: {len(comparison.differences):,} values are the reference's up to rounding",
                f"  the most is {most}",
            ]
        else:
            lines = ["nothing was compared: no module ran in both, and no optimizer stepped"]
        unpaired = comparison.unpaired
        lines += [f"not compared: {entry}" for entry in unpaired[:_MOST_UNPAIRED]]
        if len(unpaired) > _MOST_UNPAIRED:
            lines.append(f"not compared: {len(unpaired) - _MOST_UNPAIRED:,} more")
        return failures + "\n".join(lines) + "\n"

    def _entries(self, bug: Difference) -> list[tuple[str, str]]:
        entries = [
            ("off by", f"{bug.error:.6g}"),
            (
                "rounding",
                f"{bug.rounding:.3g} in the reference; {bug.allowed:.3g} would be taken for it",
            ),
        ]
        culprit = self.culprit
        if culprit is None:
            return [
                *entries,
                ("operation", "not found: no operator that was recorded made the value"),
            ]
        operation = culprit.operation
        entries += [("operation", operation.name), ("line", str(site_of(operation.place)))]
        if operation.made_by is not None:
            entries.append(("of", str(site_of(operation.made_by))))
        return [*entries, *(("operand", operand) for operand in culprit.operands)]

    def to_dict(self) -> dict[str, Any]:
        comparison, culprit = self.comparison, self.culprit
        made_by = None if culprit is None else culprit.operation.made_by
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": "bug" if comparison.bug else "rounding",
            "exit_codes": [self.program.exit_code, self.reference.exit_code],
            "bug": _told(comparison.bug),
            "worst": _told(comparison.worst),
            "operation": None
            if culprit is None
            else {
                "name": culprit.operation.name,
                "site": asdict(site_of(culprit.operation.place)),
                "made_by": None if made_by is None else asdict(site_of(made_by)),
                "operands": culprit.operands,
            },
            "path": [_told(difference) for difference in self.path()],
            "num_compared": len(comparison.differences),
            "unpaired": comparison.unpaired,
        }

    def path(self) -> list[Difference]:
        """What is off, in the reference's order, up to the last output of the first step that is: the loss
        is computed of that one.
        """
        differences = self.comparison.differences
        bug = self.comparison.bug
        if bug is None:
            return []
        last = max(
            (
                i
                for i, one in enumerate(differences)
                if one.is_bug and one.what.kind == "output" and one.what.step == bug.what.step
            ),
            default=differences.index(bug),
        )
        return [one for one in differences[: last + 1] if one.is_bug]

    def pictures(self) -> list[Any]:
        """The way from the operation to the loss, and how far each value is off."""
        drawn = [_shares(self.comparison)] if self.comparison.differences else []
        bug = self.comparison.bug
        if bug is None:
            return drawn
        stops = [
            Stop(str(one.what), "", f"off by {one.error:.3g}, rounding does {one.rounding:.3g}")
            for one in self.path()
        ]
        if self.culprit is not None:
            operation = self.culprit.operation
            where = str(site_of(operation.made_by or operation.place))
            stops.insert(0, Stop(operation.name, where, "; ".join(self.culprit.operands)))
        return [path_picture(f"{bug.what} is not the reference's", stops), *drawn]


def _told(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {**asdict(difference), "what": str(difference.what), "is_bug": difference.is_bug}


def _shares(comparison: Comparison) -> Any:
    """How far values are off, as shares of what rounding may do to them: above 1 are bugs."""
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for kind in dict.fromkeys(one.what.kind for one in comparison.differences):
        shown = [
            (i, one) for i, one in enumerate(comparison.differences, 1) if one.what.kind == kind
        ]
        figure.add_scatter(
            name=kind,
            mode="markers",
            x=[i for i, _ in shown],
            y=[max(one.error / (one.allowed or 1.0), _LEAST_SHARE) for _, one in shown],
            text=[str(one.what) for _, one in shown],
            hovertemplate="%{text}: %{y:.3g}<extra></extra>",
        )
    figure.add_hline(y=1.0, line_dash="dash")
    figure.update_layout(
        title="How far each value is off, of what rounding may do to it",
        xaxis_title="value, as the reference computes them",
        yaxis_type="log",
    )
    return figure
