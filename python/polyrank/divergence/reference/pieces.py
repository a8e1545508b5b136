"""How what ranks hold lies in a tensor of the reference.

Shards are found by their values: a rank's piece is a block of the reference's tensor, or the pieces of
a group of ranks add up to one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = [
    "SPLITS",
    "Arrangement",
    "Dealing",
    "Family",
    "Match",
    "Pieces",
    "Split",
    "allowed_anyway",
    "arrangements",
    "dealings_of",
    "distances",
    "families_of",
    "is_met_by_chance",
    "largest_of",
    "match",
    "stacks",
]

Pieces = Mapping[int, torch.Tensor]  # by rank
Family = Sequence[Sequence[int]]  # groups that ranks fall into: those of one dimension of a mesh

# Along a dimension into so many parts that lie apart in the whole: of queries, keys and values side by side
# each rank has its part of the first, the second and the third.
Split = tuple[int, int]
SPLITS: Sequence[Split] = [(dim, count) for dim in (0, -1) for count in (2, 3, 4, 5, 6, 8, 12)]


class Dealing(NamedTuple):
    """How the rows of a dimension were dealt out to the ranks of groups, if not in one block each.

    One by one, as a sampler does; or, with `is_balanced`, a chunk from the front and one from the back, which
    with a causal mask cost all ranks the same.
    """

    family: Family
    dim: int
    is_balanced: bool

    def whole(self, pieces: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """What a group's pieces are together; None: they were not dealt out so."""
        if not self.is_balanced:
            return torch.stack(list(pieces), self.dim + 1).flatten(self.dim, self.dim + 1)
        if pieces[0].shape[self.dim] % 2:
            return None
        halves = [piece.chunk(2, self.dim) for piece in pieces]
        return torch.cat(
            [*(front for front, _ in halves), *(back for _, back in reversed(halves))], self.dim
        )


_SAME, _PART, _SUM = "the same", "a part", "a part of a sum"
_UNITS = 8.0
_MOST_BLOCKS = 4096  # tried for one piece
_LEAST_MASK = 1e4  # a number that masks, as -1e9 does in scores, is as large
_MASK_BEYOND = 1e3  # times all others


@dataclass(frozen=True)
class Match:
    """How pieces lie in a tensor, and how far they are from it."""

    relation: str  # _SAME, _PART or _SUM
    error: float  # the largest difference
    factor: float = 1.0  # which the pieces are of it

    @property
    def is_sum(self) -> bool:
        """Whether sums of pieces are the tensor."""
        return self.relation == _SUM


@dataclass(frozen=True)
class Arrangement:
    """One way in which pieces may lie in a tensor: these are blocks of it."""

    relation: str  # _PART or _SUM
    blocks: list[torch.Tensor]  # float64
    split_of: torch.Size | None = None  # the shape of the pieces, where blocks are parts of these

    @property
    def is_flat(self) -> bool:
        """Whether they have one dimension."""
        return all(block.dim() == 1 for block in self.blocks)

    @property
    def is_sum(self) -> bool:
        """Whether they are sums of pieces."""
        return self.relation == _SUM

    def relation_to(self, shape: torch.Size) -> str:
        """What to call it beside a tensor of that shape."""
        is_whole = all(block.shape == shape for block in self.blocks)
        return _SAME if is_whole and not self.is_sum else self.relation


def match(
    pieces: Pieces,
    whole: torch.Tensor,
    families: Sequence[Family],
    *,
    factors: Sequence[float] = (1.0,),
    sums: Sequence[float] = (1.0,),
    splits: Sequence[Split] = (),
    dealings: Sequence[Dealing] = (),
    enough: float = 0.0,
) -> Match | None:
    """The way of lying in `whole` in which the pieces are nearest to it; None: their shapes do not fit.

    Args:
        pieces: what each rank holds.
        whole: the reference's tensor.
        families: of groups of ranks whose pieces may add up.
        factors: which the pieces may be of the reference.
        sums: which their sums may be of it: the group's size where they are parts of an average.
        splits: ways to split the pieces, whose parts may lie apart.
        dealings: ways in which rows may have been dealt out.
        enough: a way that is so near is taken, and no other is tried.
    """
    best: Match | None = None
    wide = whole.detach().double().unsqueeze(0)
    for arrangement in arrangements(pieces, families, splits, dealings):
        if arrangement.is_sum and is_met_by_chance(whole):
            continue
        for factor in sums if arrangement.is_sum else factors:
            found = distances(arrangement, wide, factor)
            if found is None:
                break
            error = float(found)
            if best is None or error < best.error:
                best = Match(arrangement.relation_to(whole.shape), error, factor)
            if best.error <= enough:
                return best
    return best


def families_of(num_ranks: int) -> list[Family]:
    """Groups that a mesh of so many ranks may have: so many ranks, so far apart."""
    return [
        [
            tuple(range(first, first + size * stride, stride))
            for start in range(0, num_ranks, size * stride)
            for first in range(start, start + stride)
        ]
        for size in range(2, num_ranks + 1)
        for stride in range(1, num_ranks // size + 1)
        if num_ranks % (size * stride) == 0
    ]


def largest_of(tensor: torch.Tensor) -> float:
    """The size of the largest element, by which rounding goes: without infinities and what masks."""
    sizes = tensor.double().abs().nan_to_num(posinf=0.0).flatten()
    if sizes.numel() == 0:
        return 0.0
    largest = float(sizes.max())
    if largest < _LEAST_MASK:
        return largest
    others = sizes[sizes < largest]
    if not 0 < others.numel() < sizes.numel() - 1:
        return largest
    beside = float(others.max())
    return beside if 0 < beside * _MASK_BEYOND < largest else largest


def allowed_anyway(whole: torch.Tensor) -> float:
    """How far off a value may be whatever rounding does to it: some units in the last place of the largest."""
    if not whole.is_floating_point():
        return 0.0
    return _UNITS * largest_of(whole) * torch.finfo(whole.dtype).eps


def dealings_of(families: Sequence[Family], num_dims: int) -> list[Dealing]:
    """Those that a tensor of so many dimensions may have: of the batch or the sequence, which come first."""
    return [
        Dealing(family, dim, is_balanced)
        for family in families
        for dim in range(min(num_dims, 2))
        for is_balanced in (False, True)
    ]


def arrangements(
    pieces: Pieces,
    families: Sequence[Family],
    splits: Sequence[Split] = (),
    dealings: Sequence[Dealing] = (),
) -> Iterator[Arrangement]:
    """The ways in which pieces may lie in a tensor, the plainest first."""
    yield from _plain_arrangements(pieces, families)
    for dealing in dealings:
        if (dealt := _dealt(pieces, dealing)) is not None:
            yield dealt
    for dim, count in splits:
        if (split := _split(pieces, dim, count)) is not None:
            yield split


def _plain_arrangements(pieces: Pieces, families: Sequence[Family]) -> Iterator[Arrangement]:
    yield Arrangement(_PART, [piece.double() for piece in _distinct(pieces)])
    shapes = {tuple(piece.shape) for piece in pieces.values()}
    # What is one number throughout proves nothing where it is a sum: others add up to it too.
    if not families or len(shapes) > 1 or all(_is_constant(piece) for piece in pieces.values()):
        return
    wide = {rank: piece.double() for rank, piece in pieces.items()}
    for family in families:
        groups = [group for group in family if all(rank in pieces for rank in group)]
        if groups:
            added = [torch.stack([wide[rank] for rank in group]).sum(0) for group in groups]
            yield Arrangement(_SUM, added)


def stacks(pieces: Pieces, sizes: Sequence[float]) -> Iterator[Arrangement]:
    """Each piece as so many blocks: as what goes to the ranks of a group in an all-to-all."""
    shapes = {piece.shape for piece in pieces.values()}
    shape = next(iter(shapes))
    if len(shapes) == 1 and len(shape) > 1 and float(shape[0]) in sizes:
        parts = [part for piece in _distinct(pieces) for part in piece.double().unbind(0)]
        yield Arrangement(_PART, parts)


def _dealt(pieces: Pieces, dealing: Dealing) -> Arrangement | None:
    """What was dealt out to the ranks of each group, put together; None: it can't have been."""
    shapes = {piece.shape for piece in pieces.values()}
    groups = [group for group in dealing.family if all(rank in pieces for rank in group)]
    if len(shapes) > 1 or len(next(iter(shapes))) <= dealing.dim or not groups:
        return None
    wholes = [dealing.whole([pieces[rank].double() for rank in group]) for group in groups]
    known = [whole for whole in wholes if whole is not None]
    return Arrangement(_PART, known) if known else None


def _split(pieces: Pieces, dim: int, count: int) -> Arrangement | None:
    """Each piece as `count` blocks along a dimension; None: they can't be split so."""
    shapes = {piece.shape for piece in pieces.values()}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) <= max(dim, -dim - 1) or shape[dim] % count:
        return None
    parts = [part for piece in _distinct(pieces) for part in piece.double().chunk(count, dim)]
    return Arrangement(_PART, parts, shape)


def is_met_by_chance(whole: torch.Tensor) -> bool:
    """Whether it is 0 or 1, to which many sums come that have nothing to do with it."""
    return whole.numel() == 1 and abs(float(whole.double())) in (0.0, 1.0)


def distances(
    arrangement: Arrangement, wholes: torch.Tensor, factor: float = 1.0
) -> torch.Tensor | None:
    """How far the blocks of an arrangement are from tensors of one shape.

    Args:
        arrangement: the blocks.
        wholes: (K, *shape), float64.
        factor: which the blocks are of the tensors.

    Returns:
        (K): from each tensor, the distance of the block that is furthest from its nearest place in it.
        None: a block does not fit into the shape.
    """
    if arrangement.split_of == wholes.shape[1:]:
        return None  # it would be the whole in another order
    worst: torch.Tensor | None = None
    places: dict[torch.Size, torch.Tensor | None] = {}
    for block in arrangement.blocks:
        if block.shape not in places:
            places[block.shape] = _places(wholes, block.shape)
        there = places[block.shape]
        if there is None:
            return None
        own = block.reshape(-1)
        nearest = _largest_differences(there, own / factor if factor != 1 else own).amin(-1)
        worst = nearest if worst is None else torch.maximum(worst, nearest)
    return worst


def _is_constant(piece: torch.Tensor) -> bool:
    return piece.numel() > 1 and bool((piece == piece.reshape(-1)[0]).all())


def _distinct(pieces: Pieces) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for piece in pieces.values():
        if not any(
            piece is other or (piece.shape == other.shape and torch.equal(piece, other))
            for other in found
        ):
            found.append(piece)
    return found


def _largest_differences(places: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """(K, places): how far the block (elements) is from each of the places (K, places, elements)."""
    if block.numel() == 0:
        return places.new_zeros(places.shape[:2])
    largest = (places - block).abs().amax(-1)
    if bool(largest.isfinite().all()):
        return largest
    same = (places == block) | (places.isnan() & block.isnan())
    return (places - block).abs().masked_fill(same, 0.0).nan_to_num(nan=torch.inf).amax(-1)


def _places(wholes: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """(K, places, elements): blocks of that shape, at multiples of it, and at the end of each dimension.

    The last may reach beyond the end, where it holds zeros: parts are padded to one size.
    """
    totals = wholes.shape[1:]
    if len(shape) != len(totals) or any(a > b for a, b in zip(shape, totals, strict=True)):
        return None
    num_wholes, num_elements = wholes.shape[0], math.prod(shape)
    if shape == totals:
        return wholes.reshape(num_wholes, 1, num_elements)
    counts = [total // max(size, 1) for size, total in zip(shape, totals, strict=True)]
    is_even = all(size * n == total for size, n, total in zip(shape, counts, totals, strict=True))
    if is_even and math.prod(counts) <= _MOST_BLOCKS:
        split = [length for pair in zip(counts, shape, strict=True) for length in pair]
        order = [*range(1, 2 * len(shape), 2), *range(2, 2 * len(shape) + 1, 2)]
        parts = wholes.reshape(num_wholes, *split).permute(0, *order)
        return parts.reshape(num_wholes, math.prod(counts), num_elements)
    starts = [
        sorted({*range(0, max(total, 1), max(size, 1)), total - size})
        for size, total in zip(shape, totals, strict=True)
    ]
    beyond = [max(max(s) + size - n, 0) for s, size, n in zip(starts, shape, totals, strict=True)]
    wholes = torch.nn.functional.pad(wholes, [n for extra in reversed(beyond) for n in (0, extra)])
    blocks = []
    for corner in itertools.islice(itertools.product(*starts), _MOST_BLOCKS):
        block = wholes
        for dim, (start, size) in enumerate(zip(corner, shape, strict=True), 1):
            block = block.narrow(dim, start, size)
        blocks.append(block.reshape(num_wholes, num_elements))
    return torch.stack(blocks, 1)
