"""The values of a reference, in which those of a program are looked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

import torch

from polyrank.divergence.reference.pieces import (
    Arrangement,
    Dealing,
    Family,
    Match,
    Pieces,
    Split,
    arrangements,
    distances,
    is_met_by_chance,
    largest_of,
    stacks,
)

__all__ = ["KnownValues"]

_UNITS = 256.0  # in the last place of the largest element: values are looked for, not judged
_MOST_ELEMENTS = 1 << 22  # of float64, compared at once
_MOST_TRIED = 20_000  # tensors
_ONE_EACH = "one of the values of each rank's own"


@dataclass(frozen=True)
class _Stack:
    """Tensors of one shape."""

    values: torch.Tensor  # (K, *shape), float64
    largest: torch.Tensor  # (K): the size of its largest element
    units: torch.Tensor  # (K): how far off a value may be that is still taken for it, if that is 1
    proves_sums: torch.Tensor  # (K): whether a sum that comes to it says something


class KnownValues:
    """Finds values that a program's ranks hold among those of its reference."""

    def __init__(self, copies: Mapping[bytes, torch.Tensor]) -> None:
        """Of the reference's values, by digest."""
        numbers = [
            (digest, tensor)
            for digest, tensor in copies.items()
            if tensor.dtype.is_floating_point and tensor.numel()
        ][:_MOST_TRIED]
        self._digests = {digest for digest, _ in numbers}
        self._by_shape: dict[torch.Size, list[torch.Tensor]] = {}
        for _, tensor in numbers:
            self._by_shape.setdefault(tensor.shape, []).append(tensor)
        self._stacks: dict[torch.Size, list[_Stack]] = {}

    def find(
        self,
        pieces: Pieces,
        digests: AbstractSet[bytes],
        families: Sequence[Family],
        *,
        factors: Sequence[float],
        sums: Sequence[float],
        splits: Sequence[Split] = (),
        dealings: Sequence[Dealing] = (),
        num_stacked: Sequence[float] = (),
    ) -> Match | None:
        """How the pieces lie in one of the values; None: in none.

        Args:
            pieces: what each rank holds.
            digests: of the pieces.
            families: of groups of ranks whose pieces may add up.
            factors: which the pieces may be of a value.
            sums: which their sums may be of it.
            splits: ways to split the pieces, whose parts may lie apart in it.
            dealings: ways in which rows may have been dealt out.
            num_stacked: how many blocks may be stacked in a piece.
        """
        if len(digests) == 1 and digests <= self._digests:
            return Match("the same", 0.0)
        ways = chain(arrangements(pieces, families, splits, dealings), stacks(pieces, num_stacked))
        for arrangement in ways:
            for factor in sums if arrangement.is_sum else factors:
                if (found := self._find(arrangement, factor)) is not None:
                    return found
        return self._each(pieces)

    def _each(self, pieces: Pieces) -> Match | None:
        """Pieces each of which is a value of its own: of the experts that ranks have, which a loop runs through."""
        if len(pieces) <= 1 or any(piece.numel() <= 1 for piece in pieces.values()):
            return None
        errors = []
        for piece in pieces.values():
            stacks_of_shape = self._stacks_of(piece.shape) if piece.shape in self._by_shape else []
            block = Arrangement(_ONE_EACH, [piece.double()])
            found = (self._nearest(block, stack, stack.values, 1.0) for stack in stacks_of_shape)
            error = next((one for one in found if one is not None), None)
            if error is None:
                return None
            errors.append(error)
        return Match(_ONE_EACH, max(errors))

    def _find(self, arrangement: Arrangement, factor: float) -> Match | None:
        for shape in self._shapes(arrangement):
            for stack in self._stacks_of(shape):
                # Flat shards, as ZeRO has them, may be of tensors that are not.
                values = stack.values.flatten(1) if arrangement.is_flat and shape else stack.values
                error = self._nearest(arrangement, stack, values, factor)
                if error is not None:
                    return Match(arrangement.relation_to(shape), error, factor)
        return None

    @staticmethod
    def _nearest(
        arrangement: Arrangement, stack: _Stack, values: torch.Tensor, factor: float
    ) -> float | None:
        """How far the nearest of the stack's tensors is; None: none is near."""
        found = distances(arrangement, values, factor)
        if found is None:
            return None
        # What was never written may hold any number: a tensor is no larger than what is looked for.
        own = max(map(largest_of, arrangement.blocks)) / factor
        is_near = found <= stack.units * stack.largest.clamp(max=own)
        if arrangement.is_sum:
            is_near &= stack.proves_sums
        return float(found[is_near].min()) if bool(is_near.any()) else None

    def _shapes(self, arrangement: Arrangement) -> Iterator[torch.Size]:
        """Those that all blocks may fit into, that of the first block first."""
        first = arrangement.blocks[0].shape
        if first in self._by_shape:
            yield first
        yield from (
            s
            for s in self._by_shape
            if s != first and (len(s) == len(first) or (arrangement.is_flat and len(s) > 1))
        )

    def _stacks_of(self, shape: torch.Size) -> list[_Stack]:
        if shape not in self._stacks:
            tensors = self._by_shape[shape]
            at_once = max(1, _MOST_ELEMENTS // max(shape.numel(), 1))
            self._stacks[shape] = [
                _stack(tensors[i : i + at_once]) for i in range(0, len(tensors), at_once)
            ]
        return self._stacks[shape]


def _stack(tensors: Sequence[torch.Tensor]) -> _Stack:
    return _Stack(
        torch.stack([one.double() for one in tensors]),
        torch.tensor([largest_of(one) for one in tensors], dtype=torch.float64),
        torch.tensor([_UNITS * torch.finfo(one.dtype).eps for one in tensors], dtype=torch.float64),
        torch.tensor([not is_met_by_chance(one) for one in tensors]),
    )
