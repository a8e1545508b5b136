"""What can be changed in a program: its collectives, by line, and the changes of each.

`polyrank._C` changes them (NOTE [Mutations] in cpp/polyrank/world/launch_mutation.h), in each process that
finds a mutation in its environment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Mutant", "Site", "environment_of", "mutants_of", "recording", "sites_in"]

VARIABLE = "POLYRANK_MUTATION"


@dataclass
class Site:
    """A line that launches a collective in a group."""

    operator: str  # "c10d::allreduce_"
    file: str  # absolute; empty: no line of Python launches it
    line: int
    group: str  # its label; empty: it has none
    operation: str = ""  # "all_reduce"
    members: list[str] = field(default_factory=list)  # of each group of that label: "0-3"
    ranks: list[str] = field(default_factory=list)  # that launch: "2", or in lockstep "0-3"
    can_double: bool = False
    can_move: bool = False
    is_followed: bool = False  # by a collective of another line

    def changes(self) -> list[str]:
        """What makes another program of it."""
        possible = {
            "drop": True,
            "double": self.can_double,
            "move": self.can_move and self.is_followed,
        }
        return [change for change, can in possible.items() if can]


@dataclass(frozen=True)
class Mutant:
    """One change of one collective."""

    change: str  # "drop", "double" or "move"
    site: Site = field(compare=False)
    # What says that two are the same.
    operator: str
    file: str
    line: int
    group: str

    @staticmethod
    def of(change: str, site: Site) -> Mutant:
        """The change of that collective."""
        return Mutant(change, site, site.operator, site.file, site.line, site.group)

    def environment(self, log: Path) -> dict[str, str]:
        """What makes a process run it; where it is reached a line is written to the log."""
        return environment_of(
            self.change, log, self.operator, self.file, str(self.line), self.group
        )


def environment_of(*lines: object) -> dict[str, str]:
    """As parse_mutation() of cpp/polyrank/world/launch_mutation.h reads it."""
    return {VARIABLE: "\n".join(str(line) for line in lines)}


def recording(log: Path) -> dict[str, str]:
    """What makes a process write its collectives to the log."""
    return environment_of("record", log)


def sites_in(log: Path) -> list[Site]:
    """The collectives that a run wrote down, in the order in which they were first launched."""
    sites: dict[tuple[Any, ...], Site] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        told = json.loads(line)
        key = (told["operator"], told["file"], told["line"], told["group"])
        site = sites.setdefault(key, Site(*key))
        if "is_followed" in told:
            site.is_followed = True
            continue
        site.operation = told["kind"]
        site.can_double |= told["can_double"]
        site.can_move |= told["can_move"]
        for known, new in ((site.members, told["members"]), (site.ranks, told["ranks"])):
            if new and new not in known:
                known.append(new)
    return list(sites.values())


def mutants_of(sites: list[Site]) -> list[Mutant]:
    """All changes of all collectives."""
    return [Mutant.of(change, site) for site in sites for change in site.changes()]
