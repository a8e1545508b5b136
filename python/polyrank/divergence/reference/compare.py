"""Pairs the values of two runs, and finds the first that is off by more than rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from polyrank.divergence.reference.pieces import Match, largest_of, match
from polyrank.divergence.reference.tape import Event, Tape, What

__all__ = ["Comparison", "Difference", "compare", "groups_of_ranks"]

# How far a value may be off: so many times what rounding did to the reference, or so many units in the
# last place of its largest element, whichever is more.
_TIMES_ROUNDING = 16.0
_UNITS = 8.0


@dataclass(frozen=True)
class Difference:
    """A value of the program beside the reference's."""

    what: What
    error: float  # the largest distance from the reference
    rounding: float  # what rounding did to the reference there
    allowed: float
    relation: str

    @property
    def is_bug(self) -> bool:
        """Whether it is more than rounding does."""
        return not self.error <= self.allowed


@dataclass
class Comparison:
    """All values that were paired, in the reference's order."""

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
        return max(
            self.differences, key=lambda found: found.error / (found.allowed or 1.0), default=None
        )


def compare(program: Tape, reference: Tape, rounded: Sequence[Tape]) -> Comparison:
    """Pair the values of the program with the reference's.

    Args:
        program: of several ranks.
        reference: of one rank, or of as many as the program, which are paired rank by rank then.
        rounded: the reference with its operators computed in other ways.
    """
    groups = groups_of_ranks(program.num_ranks)
    found = Comparison()
    for what, event in reference.events.items():
        paired = program.events.get(what)
        if paired is None:
            found.unpaired.append(f"{what}: only the reference has it")
            continue
        difference = _difference(what, paired, event, rounded, groups)
        if difference is None:
            shapes = sorted({str(tuple(piece.shape)) for piece in paired.pieces.values()})
            whole = tuple(next(iter(event.pieces.values())).shape)
            found.unpaired.append(f"{what}: {', '.join(shapes)} does not fit into {whole}")
        else:
            found.differences.append(difference)
    found.unpaired += [
        f"{what}: only the program has it"
        for what in program.events
        if what not in reference.events
    ]
    return found


def _difference(
    what: What,
    program: Event,
    reference: Event,
    rounded: Sequence[Tape],
    groups: Sequence[Sequence[int]],
) -> Difference | None:
    worst: Difference | None = None
    for pieces, whole in _pairs(program, reference):
        matched = _best_match(what, pieces, whole, groups)
        if matched is None:
            return None
        rounding = max(
            (
                _distance(tape.events[what].pieces.get(rank), whole)
                for tape in rounded
                if what in tape.events
                for rank, own in reference.pieces.items()
                if own is whole
            ),
            default=0.0,
        )
        allowed = max(_TIMES_ROUNDING * rounding, _UNITS * _unit(whole))
        difference = Difference(what, matched.error, rounding, allowed, matched.relation)
        if worst is None or difference.error / (allowed or 1.0) > worst.error / (
            worst.allowed or 1.0
        ):
            worst = difference
    return worst


def _pairs(
    program: Event, reference: Event
) -> Iterator[tuple[dict[int, torch.Tensor], torch.Tensor]]:
    if len(reference.pieces) == 1:
        yield program.pieces, next(iter(reference.pieces.values()))
        return
    for rank, whole in reference.pieces.items():
        if rank in program.pieces:
            yield {rank: program.pieces[rank]}, whole


def _best_match(
    what: What,
    pieces: dict[int, torch.Tensor],
    whole: torch.Tensor,
    groups: Sequence[Sequence[int]],
) -> Match | None:
    """A gradient that an optimizer takes and a parameter must be the reference's, or a part of it.

    What modules give may also be a part of a sum, or of an average; gradients on the way a multiple,
    where each rank's loss is an average over its own part.
    """
    sizes = sorted({float(len(group)) for group in groups})
    if what.kind in ("gradient", "parameter"):
        return match(pieces, whole, ())
    candidates = [match(pieces, whole, groups, sums=(1.0, *sizes))]
    if what.kind == "gradient of the output":
        candidates.append(match(pieces, whole, groups, factors=(1.0, *sizes), sums=(1.0, *sizes)))
    return min(
        (one for one in candidates if one is not None), key=lambda one: one.error, default=None
    )


def groups_of_ranks(num_ranks: int) -> list[tuple[int, ...]]:
    """Groups that a mesh of so many ranks may have: so many ranks, so far apart."""
    found = []
    for size in range(2, num_ranks + 1):
        for stride in range(1, num_ranks // size + 1):
            if num_ranks % (size * stride) == 0:
                found += [
                    tuple(range(first, first + size * stride, stride))
                    for start in range(0, num_ranks, size * stride)
                    for first in range(start, start + stride)
                ]
    return found


def _distance(other: torch.Tensor | None, whole: torch.Tensor) -> float:
    if other is None or other.shape != whole.shape or whole.numel() == 0:
        return 0.0
    difference = (other.double() - whole.double()).abs()
    return float(difference.nan_to_num(nan=0.0, posinf=0.0).max())


def _unit(whole: torch.Tensor) -> float:
    """The unit in the last place of the largest element."""
    return largest_of(whole) * torch.finfo(whole.dtype).eps if whole.is_floating_point() else 0.0
