"""How a program of a client ended in a world, and what that says beside another world."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from client_list import REFERENCES, Program

__all__ = ["Outcome", "reference_among", "values_in"]

_DECODER = json.JSONDecoder()
_TOLD = re.compile(r"RES (?=\{)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Outcome:
    """How a program ended in a world."""

    world: str
    exit_code: int
    seconds: float
    output: str
    values: list[str] = field(default_factory=list)  # a line of a rank each, ordered

    def word(self, program: Program, reference: Outcome | None) -> str:
        """What became of it: one of those of docs/clients.md."""
        if text := program.stops.get(self.world):
            stopped = self.exit_code != 0 and text in " ".join(self.output.split())
            return "stops" if stopped else "does not stop as it did"
        if self.exit_code:
            return f"exit code {self.exit_code}"
        if self.world == "fake" or reference is None or reference is self:
            return "runs"
        if not reference.values:
            return "passes"
        return "same digits" if self.values == reference.values else "other digits"

    def is_right(self, program: Program, reference: Outcome | None) -> bool:
        return self.word(program, reference) in {"runs", "passes", "same digits", "stops"}


def reference_among(outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """The one whose values the others must have: the first world of gloo's that ran it."""
    ran = [one for one in outcomes.values() if one.exit_code == 0 and one.world != "fake"]
    return min(ran, key=lambda one: one.world not in REFERENCES, default=None)


def values_in(output: str, reads: str) -> list[str]:
    """What a program printed of its ranks, in an order that does not depend on theirs."""
    plain = _COLOUR.sub("", output)
    if reads:
        return sorted(" ".join(match.groups()) for match in re.finditer(reads, plain))
    # What processes print may come on one line.
    told = [_DECODER.raw_decode(plain, match.end())[0] for match in _TOLD.finditer(plain)]
    return sorted(json.dumps(one, sort_keys=True) for one in told)
