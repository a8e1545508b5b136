"""Which mutants nobody noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyrank import exit_codes
from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.mutate.command import Ended
from polyrank.divergence.mutate.mutants import Mutant
from polyrank.divergence.report import Report

__all__ = ["SCHEMA_VERSION", "CheckedMutants", "Result"]

SCHEMA_VERSION = 1
_EXIT_NOTHING_TO_DO = 2
_LAST_LINES = 20
_CHANGED = {"drop": "left out", "double": "run twice", "move": "run after the next collective"}
_STATUSES = ("survived", "killed", "timed out", "not reached")


@dataclass(frozen=True)
class Result:
    """What became of one mutant."""

    mutant: Mutant
    status: str  # of _STATUSES
    told: str  # the last line that the command printed
    seconds: float
    fingerprint: str  # of the files that it was run with

    @staticmethod
    def kept(
        mutant: Mutant, documents: Iterable[dict[str, Any]], fingerprint: str
    ) -> Result | None:
        """What earlier runs say of it, with the same files."""
        key = {**_key(mutant), "fingerprint": fingerprint}
        for told in documents:
            if key.items() <= told.items() and told.get("status") in _STATUSES:
                return Result(mutant, told["status"], told["told"], told["seconds"], fingerprint)
        return None

    def text(self) -> str:
        """What was changed, and where."""
        site = self.mutant.site
        where = f"{Path(site.file).name}:{site.line}" if site.file else "an unknown line"
        group = f" in group {site.group}" if site.group else ""
        members = f" (ranks {'; '.join(_ordered(site.members))})" if site.members else ""
        return (
            f"{site.operation} of {where}{group}{members}, launched by {_launchers(site.ranks)}: "
            f"{_CHANGED[self.mutant.change]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        site = self.mutant.site
        return {
            **_key(self.mutant),
            "operation": site.operation,
            "members": _ordered(site.members),
            "ranks": _ordered(site.ranks),
            "status": self.status,
            "told": self.told,
            "seconds": self.seconds,
            "fingerprint": self.fingerprint,
        }


@dataclass
class CheckedMutants(Report):
    """What a campaign found so far."""

    command: str
    identity: dict[str, Any]
    ended: Ended  # without a mutation
    mutants: list[Mutant] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    fingerprint: str = ""

    title = "Mutants that no test noticed"

    @property
    def exit_code(self) -> int:
        if self.ended.exit_code:
            return self.ended.exit_code
        if not self.mutants:
            return _EXIT_NOTHING_TO_DO
        return exit_codes.DIVERGENCE if self.of("survived") else 0

    def of(self, status: str) -> list[Result]:
        """The results that are so, in the program's order."""
        order = {mutant: i for i, mutant in enumerate(self.mutants)}
        chosen = [result for result in self.results if result.status == status]
        return sorted(chosen, key=lambda result: order[result.mutant])

    def text(self) -> str:
        if self.ended.exit_code:
            last = "\n".join(self.ended.output.splitlines()[-_LAST_LINES:])
            return (
                f"{last}\nwithout a mutation {self.command} ends with exit code "
                f"{self.ended.exit_code}: what fails anyway notices nothing, so nothing was mutated\n"
            )
        if not self.mutants:
            return (
                f"{self.command} launched no collective that polyrank saw: run it in a world of "
                "polyrank's (polyrank run, run_ranks, lockstep)\n"
            )
        lines = [f"survived: {result.text()}" for result in self.of("survived")]
        lines += [
            f"not reached: {result.text()}: with it the command never came there"
            for result in self.of("not reached")
        ]
        counts = Counter(result.status for result in self.results)
        said = ", ".join(f"{counts[status]:,} {status}" for status in _STATUSES if counts[status])
        left = len(self.mutants) - len(self.results)
        num_sites = len({id(mutant.site) for mutant in self.mutants})
        total = (
            f"{len(self.mutants):,} mutants of {num_sites:,} collectives: {said or 'none was run'}"
        )
        lines.append(total + (f"; {left:,} not run yet" if left else ""))
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": self.identity,
            "exit_code": self.ended.exit_code,
            "seconds": self.ended.seconds,
            "num_mutants": len(self.mutants),
            "num_left": len(self.mutants) - len(self.results),
            "results": [result.to_dict() for status in _STATUSES for result in self.of(status)],
        }

    def pictures(self) -> list[Any]:
        """All mutants, as a table."""
        from plotly import graph_objects

        shown = [result for status in _STATUSES for result in self.of(status)]
        columns = [
            [result.status for result in shown],
            [result.text() for result in shown],
            [result.told for result in shown],
        ]
        return [
            graph_objects.Figure(
                graph_objects.Table(
                    header={"values": ["", "mutant", "the command's last line"], "align": "left"},
                    cells={"values": columns, "align": "left"},
                    columnwidth=[1, 5, 4],
                )
            )
        ]


def _key(mutant: Mutant) -> dict[str, Any]:
    return {
        "change": mutant.change,
        "operator": mutant.operator,
        "file": mutant.file,
        "line": mutant.line,
        "group": mutant.group,
    }


def _launchers(ranks: list[str]) -> str:
    if all(rank.isdecimal() for rank in ranks):
        return rank_names(sorted(int(rank) for rank in ranks))
    return f"ranks {', '.join(_ordered(ranks))}"


def _ordered(runs: list[str]) -> list[str]:
    """Runs of ranks, "0-3", by the first."""
    return sorted(runs, key=lambda run: [int(part) for part in run.replace(",", "-").split("-")])
