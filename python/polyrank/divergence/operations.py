"""One operation as a rank ran it: where, on what, and which operations made that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from polyrank.divergence.content import Content

__all__ = ["Key", "Operand", "Operation", "Place"]


class Place(NamedTuple):
    """Where in the program an operation runs."""

    file: str
    line: int
    module: str  # "": none
    phase: str  # "forward", "backward" or "optimizer"


class Key(NamedTuple):
    """What says that operations of two ranks are the same one."""

    name: str
    file: str
    line: int
    phase: str
    position: int  # in parallel lists
    occurrence: int  # how many of these the rank ran before


@dataclass(slots=True, eq=False)
class Operand:
    """An argument as the operator found it."""

    name: str
    content: Content | None  # None: nothing to compare
    shape: tuple[Any, ...] = ()
    writers: tuple[Operation, ...] = ()
    is_scalar: bool = False
    is_parameter: bool = False  # of a module
    is_written: bool = False


@dataclass(slots=True, eq=False)
class Operation:
    """One operator call, or one position of its lists."""

    number: int  # as the rank counts
    key: Key
    place: Place
    made_by: Place | None  # in backward, the forward operation whose gradient it computes
    operands: list[Operand]
    forward: Operation | None = None  # the one that `made_by` places
    is_random: bool = False
    stream: Operand | None = None  # of what draws, the random stream as it was before
    is_view: bool = False
    is_read: bool = False  # by the model: by a forward operation that autograd records
    kind: str = ""  # of a collective
    groups: tuple[tuple[int, ...], ...] = ()  # of ranks, that the collective joins

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.key.name

    def joins(self, *ranks: int) -> bool:
        """Whether it is a collective of a group that all these are in."""
        return any(all(rank in group for rank in ranks) for group in self.groups)
