"""How what ranks hold lies in a tensor of the reference.

Shards are found by their values: a rank's piece is a block of the reference's tensor, or the pieces of
a group of ranks add up to one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

__all__ = ["Match", "Pieces", "largest_of", "match"]

Pieces = Mapping[int, torch.Tensor]  # by rank

_SAME, _PART, _SUM = "the same", "a part", "a part of a sum"
_MOST_BLOCKS = 4096  # tried for one piece
_LEAST_MASK = 1e4  # a number that masks, as -1e9 does in scores, is as large
_MASK_BEYOND = 1e3  # times all others


@dataclass(frozen=True)
class Match:
    """How pieces lie in a tensor, and how far they are from it."""

    relation: str  # _SAME, _PART or _SUM
    error: float  # the largest difference
    factor: float = 1.0  # which the pieces are of it


def match(
    pieces: Pieces,
    whole: torch.Tensor,
    groups: Sequence[Sequence[int]],
    *,
    factors: Sequence[float] = (1.0,),
    sums: Sequence[float] = (1.0,),
) -> Match | None:
    """The way of lying in `whole` in which the pieces are nearest to it; None: their shapes do not fit.

    Args:
        pieces: what each rank holds.
        whole: the reference's tensor.
        groups: of ranks whose pieces may add up.
        factors: which the pieces may be of the reference.
        sums: which their sums may be of it: the group's size where they are parts of an average.
    """
    best: Match | None = None
    for relation, candidate in _arrangements(pieces, groups):
        if relation == _SUM and _is_met_by_chance(whole):
            continue
        for factor in sums if relation == _SUM else factors:
            error = _error_of(candidate, whole, factor)
            if error is not None and (best is None or error < best.error):
                is_whole = all(piece.shape == whole.shape for piece in candidate)
                named = _SAME if relation == _PART and is_whole else relation
                best = Match(named, error, factor)
    return best


def largest_of(tensor: torch.Tensor) -> float:
    """The size of the largest element, by which rounding goes: without infinities and what masks."""
    sizes = tensor.double().abs().nan_to_num(posinf=0.0).flatten()
    if sizes.numel() == 0:
        return 0.0
    largest = float(sizes.max())
    others = sizes[sizes < largest]
    if largest < _LEAST_MASK or not 0 < others.numel() < sizes.numel() - 1:
        return largest
    beside = float(others.max())
    return beside if 0 < beside * _MASK_BEYOND < largest else largest


def _arrangements(
    pieces: Pieces, groups: Sequence[Sequence[int]]
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    yield _PART, [piece.double() for piece in _distinct(pieces)]
    shapes = {tuple(piece.shape) for piece in pieces.values()}
    # What is one number throughout proves nothing where it is a sum: others add up to it too.
    if len(shapes) > 1 or all(_is_constant(piece) for piece in pieces.values()):
        return
    for group in groups:
        if len(group) > 1 and all(rank in pieces for rank in group):
            sums = [
                sum(pieces[rank].double() for rank in other)
                for other in groups
                if len(other) == len(group) and all(rank in pieces for rank in other)
            ]
            yield _SUM, sums  # type: ignore[misc]


def _is_met_by_chance(whole: torch.Tensor) -> bool:
    """Whether it is 0 or 1, to which many sums come that have nothing to do with it."""
    return whole.numel() == 1 and abs(float(whole.double())) in (0.0, 1.0)


def _is_constant(piece: torch.Tensor) -> bool:
    return piece.numel() > 1 and bool((piece == piece.reshape(-1)[0]).all())


def _distinct(pieces: Pieces) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for piece in pieces.values():
        if not any(piece.shape == other.shape and torch.equal(piece, other) for other in found):
            found.append(piece)
    return found


def _error_of(pieces: list[torch.Tensor], whole: torch.Tensor, factor: float) -> float | None:
    """The largest distance of a piece from the block that is nearest to it."""
    worst = 0.0
    for piece in pieces:
        nearest = min(
            (_distance(piece / factor, block) for block in _blocks(whole, piece.shape)),
            default=None,
        )
        if nearest is None:
            return None
        worst = max(worst, nearest)
    return worst


def _distance(piece: torch.Tensor, block: torch.Tensor) -> float:
    if piece.numel() == 0:
        return 0.0
    difference = (piece - block.double()).abs()
    same = (piece == block) | (piece.isnan() & block.isnan())
    return float(difference.masked_fill(same, 0.0).nan_to_num(nan=torch.inf).max())


def _blocks(whole: torch.Tensor, shape: torch.Size) -> Iterator[torch.Tensor]:
    """Blocks of that shape, at multiples of it, and at the end of each dimension."""
    if len(shape) != whole.dim() or any(a > b for a, b in zip(shape, whole.shape, strict=True)):
        return
    starts = [
        sorted({*range(0, total - size + 1, max(size, 1)), total - size})
        for size, total in zip(shape, whole.shape, strict=True)
    ]
    for corner in itertools.islice(itertools.product(*starts), _MOST_BLOCKS):
        block = whole
        for dim, (start, size) in enumerate(zip(corner, shape, strict=True)):
            block = block.narrow(dim, start, size)
        yield block
