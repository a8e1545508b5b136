"""Pieces of a tensor that a rank-dependent int can choose from: `x.chunk(world_size)[rank]`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from polyrank.rank_dependent_index import as_number
from polyrank.rank_dependent_numbers import (
    is_rank_dependent_number,
    number_on_rank,
    rank_dependent_int,
)


class Pieces(tuple[torch.Tensor, ...]):  # noqa: SLOT001 - it has attributes
    """What `chunk`, `split`, `tensor_split` and `unbind` return in a mode.

    A tuple; beyond what tuples can, a rank-dependent int gives each rank its own piece: a view of
    the tensor that was taken apart, as each rank alone would get.
    """

    whole: torch.Tensor
    dim: int
    keeps_dim: bool  # False: unbind

    def __getitem__(self, index: Any) -> Any:
        """One piece or, for a slice, a tuple of some.

        Raises:
            IndexError: there is no such piece, on all ranks or on the one that is named.
        """
        number = as_number(index)
        if not is_rank_dependent_number(number):
            return super().__getitem__(number)
        positions = {rank: self._position(i, rank) for rank, i in number.node._local_ints.items()}
        if not self.keeps_dim:
            return self.whole.select(self.dim, rank_dependent_int(positions))
        begin: dict[int, int] = {}
        length: dict[int, int] = {}
        for rank, position in positions.items():
            sizes = [number_on_rank(piece.size(self.dim), rank) for piece in self]
            begin[rank] = sum(itertools.islice(sizes, position))
            length[rank] = sizes[position]
        return self.whole.narrow(self.dim, rank_dependent_int(begin), rank_dependent_int(length))

    def _position(self, index: int, rank: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"rank {rank} asks for piece {index} of {len(self)}; valid: {-len(self)} to "
                f"{len(self) - 1}"
            )
        return index % len(self)


pytree.register_pytree_node(
    Pieces,
    lambda pieces: (list(pieces), None),
    lambda pieces, _: tuple(pieces),
    serialized_type_name="polyrank.Pieces",
)


def chunk(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Pieces:
    """`torch.chunk` and those like it, where `original` is PyTorch's own: `dim` comes third."""
    return _pieces(original, args, kwargs, position_of_dim=2, keeps_dim=True)


def unbind(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Pieces:
    """`torch.unbind`, where `original` is PyTorch's own."""
    return _pieces(original, args, kwargs, position_of_dim=1, keeps_dim=False)


def _pieces(
    original: Callable[..., Any],
    args: Any,
    kwargs: dict[str, Any],
    *,
    position_of_dim: int,
    keeps_dim: bool,
) -> Pieces:
    pieces = Pieces(original(*args, **kwargs))
    pieces.whole = args[0] if args else kwargs["input"]
    pieces.dim = args[position_of_dim] if len(args) > position_of_dim else kwargs.get("dim", 0)
    pieces.keeps_dim = keeps_dim
    return pieces
