"""What is told of ranks that part: the operation, its line, the ranks and what each holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.content import Content, groups_of
from polyrank.divergence.operations import Place
from polyrank.divergence.path_picture import Stop, path_picture
from polyrank.divergence.report import rows

__all__ = ["Finding", "Held", "Site", "held_by_ranks", "site_of"]

_GROUPS_SHOWN = 4


@dataclass(frozen=True)
class Site:
    """A line of the program, and what runs there."""

    file: str
    line: int
    module: str = ""
    phase: str = ""

    def __str__(self) -> str:
        where = f"{Path(self.file).name}:{self.line}" if self.file else "an unknown line"
        details = [part for part in (self.phase, self.module and f"module {self.module}") if part]
        return f"{where} ({', '.join(details)})" if details else where


def site_of(place: Place) -> Site:
    """The place of an operation."""
    return Site(place.file, place.line, place.module, place.phase)


@dataclass(frozen=True)
class Held:
    """What some ranks hold."""

    ranks: list[int]
    value: str


def held_by_ranks(contents: Sequence[Content]) -> list[Held]:
    """Who holds what, the lowest ranks first."""
    return [Held(ranks, share.shown) for ranks, share in groups_of(contents)]


@dataclass(frozen=True)
class Step:
    """An operation on the way from where ranks part to what was seen to differ."""

    operation: str
    site: Site
    says: str  # what it does with what differs


@dataclass(frozen=True)
class Finding:
    """Where ranks part that should agree."""

    subject: str  # what should agree: "parameter layers.0.weight"
    ranks: list[int]  # that should agree
    operation: str  # the first that parts them
    site: Site
    cause: str  # what is wrong there
    held: list[Held]  # what the subject is
    when: str  # "optimizer step 2"
    operands: list[str] = field(
        default_factory=list
    )  # of the operation, that were different already
    path: list[Step] = field(default_factory=list)  # from the operation on, to the subject
    others: list[str] = field(default_factory=list)  # subjects that part for the same reason

    def text(self) -> str:
        """All of it, as lines."""
        entries = [
            ("operation", self.operation),
            ("line", str(self.site)),
            ("cause", self.cause),
            *(("different already", operand) for operand in self.operands),
            *((rank_names(held.ranks), held.value) for held in self.held[:_GROUPS_SHOWN]),
        ]
        if len(self.held) > _GROUPS_SHOWN:
            entries.append(("…", f"{len(self.held)} values in all"))
        entries += [("then", f"{step.operation} at {step.site}: {step.says}") for step in self.path]
        if self.others:
            entries.append(("also", ", ".join(self.others)))
        head = f"{self.subject} should be the same on {rank_names(self.ranks)} and is not at {self.when}"
        return "\n".join([head, *rows(entries)])

    def picture(self) -> Any:
        """The way from the operation to the subject."""
        first = Stop(self.operation, str(self.site), self.cause)
        way = [Stop(step.operation, str(step.site), step.says) for step in self.path]
        last = Stop(self.subject, self.when, f"differs on {rank_names(self.ranks)}")
        return path_picture(f"{self.subject} parts", [first, *way, last])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
