"""Pairs the values of two runs, and finds the first that is off by more than rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

import torch

from polyrank.divergence.reference.layouts import Layouts, layouts_of
from polyrank.divergence.reference.pieces import (
    Dealing,
    Family,
    Match,
    Split,
    allowed_anyway,
    families_of,
    match,
)
from polyrank.divergence.reference.tape import INITIAL, LOSS, Event, Tape, What

__all__ = ["Comparison", "Difference", "RoundedRuns", "compare", "loss_that_is_off"]

# How far a value may be off: so many times what rounding did to the reference, or `allowed_anyway()`,
# whichever is more.
_TIMES_ROUNDING = 16.0
# What is off by so many times what may be is not asked what another way of rounding does to it.
_CERTAIN = 1000.0


class RoundedRuns(Protocol):
    """The reference with its operators computed in other ways."""

    def up_to(self, step: int) -> Iterator[Tape]:
        """A run in each of the ways, at least up to the end of that optimizer step."""


@dataclass(frozen=True)
class Difference:
    """A value of the program beside the reference's."""

    what: What
    error: float  # the largest distance from the reference
    rounding: float | None  # what rounding did to the reference there; None: nobody had to know
    allowed: float
    relation: str

    @property
    def is_bug(self) -> bool:
        """Whether it is more than rounding does."""
        return not self.error <= self.allowed

    @property
    def share(self) -> float:
        """The error, of what is allowed."""
        return self.error / (self.allowed or 1.0)


@dataclass
class Comparison:
    """All values that were paired, in the reference's order, up to the end of the step that has a bug."""

    differences: list[Difference] = field(default_factory=list)
    unpaired: list[str] = field(
        default_factory=list
    )  # what only one of the runs has, or does not fit

    @property
    def bug(self) -> Difference | None:
        """The first that is off by more than rounding."""
        return next((found for found in self.differences if found.is_bug), None)

    @property
    def worst(self) -> Difference | None:
        """The one that comes nearest to what is allowed, or exceeds it most."""
        return max(self.differences, key=lambda found: found.share, default=None)


def compare(program: Tape, reference: Tape, rounded: RoundedRuns) -> Comparison:
    """Pair the values of the program with the reference's, step by step, up to the first that has a bug.

    Args:
        program: of several ranks.
        reference: of one rank, or of as many as the program, which are paired rank by rank then.
        rounded: asked for only where a value is off by more than some units in its last place.
    """
    families = families_of(program.num_ranks)
    layouts = layouts_of(program, reference)
    own = _numbers_of_own(program, reference)
    found = Comparison()
    steps = sorted({what.step for what in (*reference.events, *program.events)})
    for step in steps:
        compared = []
        for what, event in reference.events.items():
            if what.step != step or what.kind == LOSS:
                continue
            paired = program.events.get(what)
            if paired is None:
                if what.kind != INITIAL:  # parameters are told after the step
                    found.unpaired.append(f"{what}: only the reference has it")
            elif (value := _compared(what, paired, event, families, layouts)) is not None:
                compared.append(value)
            elif what.kind != INITIAL:
                shapes = sorted({str(tuple(piece.shape)) for piece in paired.pieces.values()})
                whole = tuple(next(iter(event.pieces.values())).shape)
                found.unpaired.append(f"{what}: {', '.join(shapes)} does not fit into {whole}")
        found.unpaired += [
            f"{what}: only the program has it"
            for what in program.events
            if what.step == step
            and what.kind not in (INITIAL, LOSS)
            and what not in reference.events
        ]
        differences, averages = _judged(compared, own, step, rounded)
        found.differences += differences
        found.unpaired += [f"{what}: each rank has that of its own part" for what in averages]
        if found.bug is not None:
            break
    return found


@dataclass(frozen=True)
class _Compared:
    """A value, as near to the reference's as it can be taken to be."""

    what: What
    pairs: list[tuple[Match, int, torch.Tensor]]  # with a rank of the reference, and what it holds

    def difference(self, rounded: Sequence[Tape]) -> Difference:
        """Of the pair that is off most."""
        return max((self._of_pair(*pair, rounded) for pair in self.pairs), key=lambda d: d.share)

    def _of_pair(
        self, matched: Match, rank: int, whole: torch.Tensor, rounded: Sequence[Tape]
    ) -> Difference:
        others = [
            tape.events[self.what].pieces.get(rank) for tape in rounded if self.what in tape.events
        ]
        rounding = max((_distance(other, whole) for other in others), default=0.0)
        allowed = max(_TIMES_ROUNDING * rounding, allowed_anyway(whole))
        told = rounding if rounded else None
        return Difference(self.what, matched.error, told, allowed, matched.relation)


def _judged(
    compared: Sequence[_Compared], own: AbstractSet[What], step: int, rounded: RoundedRuns
) -> tuple[list[Difference], list[What]]:
    """The differences of one step, and what is an average of ranks that counts each as much as it has.

    The reference runs in other ways until none looks like a bug, or the first is off by far.
    """
    tapes: list[Tape] = []
    differences, averages = _differences(compared, own, tapes)
    if any(difference.is_bug for difference in differences):
        for tape in rounded.up_to(step):
            tapes.append(tape)
            differences, averages = _differences(compared, own, tapes)
            bug = next((difference for difference in differences if difference.is_bug), None)
            if bug is None or bug.share > _CERTAIN:
                break
    return differences, averages


def _differences(
    compared: Sequence[_Compared], own: AbstractSet[What], tapes: Sequence[Tape]
) -> tuple[list[Difference], list[What]]:
    """The differences, without numbers of ranks that may be averages over parts of different sizes.

    A program that weighs each rank's average by its size is right. Whether it does, what the optimizer takes
    and leaves says.
    """
    differences = [value.difference(tapes) for value in compared]
    taken = [one for one in differences if one.what.kind in ("gradient", "parameter")]
    if not taken or any(one.is_bug for one in taken):
        return differences, []
    return (
        [one for one in differences if not (one.is_bug and one.what in own)],
        [one.what for one in differences if one.is_bug and one.what in own],
    )


def _compared(
    what: What, program: Event, reference: Event, families: Sequence[Family], layouts: Layouts
) -> _Compared | None:
    splits = layouts.splits_of(what)
    pairs = []
    for pieces, rank, whole in _pairs(program, reference):
        matched = _best_match(what, pieces, whole, families, splits, layouts.dealings)
        if matched is None:
            return None
        pairs.append((matched, rank, whole))
    return _Compared(what, pairs) if pairs else None


def _numbers_of_own(program: Tape, reference: Tape) -> set[What]:
    """Outputs that may be one number of each rank's own rows, as losses, and their gradients.

    The module that ran before gives ranks different rows: else they have one loss, and should agree.
    """
    found: set[What] = set()
    has_rows = False
    for what, event in reference.events.items():
        paired = program.events.get(what)
        if what.kind != "output" or paired is None:
            continue
        whole = next(iter(event.pieces.values()))
        pieces = paired.pieces.values()
        if whole.dim() > 1:
            has_rows = any(piece.shape[:-1] != whole.shape[:-1] for piece in pieces)
        elif has_rows and all(piece.numel() == 1 for piece in pieces):
            found.add(what._replace(kind="gradient of the output"))
            if len({float(piece) for piece in pieces}) > 1:
                found.add(what)
    return found


def _pairs(
    program: Event, reference: Event
) -> Iterator[tuple[dict[int, torch.Tensor], int, torch.Tensor]]:
    if len(reference.pieces) == 1:
        [(rank, whole)] = reference.pieces.items()
        yield program.pieces, rank, whole
        return
    for rank, whole in reference.pieces.items():
        if rank in program.pieces:
            yield {rank: program.pieces[rank]}, rank, whole


def _best_match(
    what: What,
    pieces: dict[int, torch.Tensor],
    whole: torch.Tensor,
    families: Sequence[Family],
    splits: Sequence[Split],
    dealings: Sequence[Dealing],
) -> Match | None:
    """A gradient that an optimizer takes and a parameter must be the reference's, or a part of it.

    What modules give may also be a part of a sum, or of an average; gradients on the way a multiple,
    where each rank's loss is an average over its own part.
    """
    if all(piece is whole for piece in pieces.values()):
        return Match("the same", 0.0)
    enough = allowed_anyway(whole)
    if what.kind in ("gradient", "parameter", INITIAL):
        return match(pieces, whole, (), splits=splits, enough=enough)
    sizes = (1.0, *sorted({float(len(family[0])) for family in families}))
    factors = sizes if what.kind == "gradient of the output" else (1.0,)
    return match(
        pieces,
        whole,
        families,
        factors=factors,
        sums=sizes,
        splits=splits,
        dealings=dealings,
        enough=enough,
    )


def _distance(other: torch.Tensor | None, whole: torch.Tensor) -> float:
    if other is None or other is whole or other.shape != whole.shape or whole.numel() == 0:
        return 0.0
    difference = (other.double() - whole.double()).abs()
    return float(difference.nan_to_num(nan=0.0, posinf=0.0).max())


def loss_that_is_off(bug: Difference, program: Tape, reference: Tape) -> What | None:
    """The loss whose gradient the bug's value is, where that is already off; None: it is not, or not comparable.

    Losses say nothing by themselves: ranks may average over parts of different sizes.
    """
    step = bug.what.step
    if bug.what.kind != "gradient of the output":
        return None
    losses = [
        [what for what in tape.events if what.kind == LOSS and what.step == step]
        for tape in (program, reference)
    ]
    if sorted(losses[0]) != sorted(losses[1]):
        return None
    families = families_of(program.num_ranks)
    for what in losses[1]:
        compared = _compared(
            what, program.events[what], reference.events[what], families, Layouts()
        )
        for matched, _, whole in [] if compared is None else compared.pairs:
            if matched.error > _TIMES_ROUNDING * allowed_anyway(whole):
                return what
    return None
