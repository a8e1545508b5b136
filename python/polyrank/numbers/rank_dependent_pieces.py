"""Pieces of a tensor that a rank-dependent int can choose from: `x.chunk(world_size)[rank]`.

Ranks with shorter tensors have fewer pieces. PyTorch's own code (DTensor's shards) sees empty ones in
their place, as in its simulator; a program, which could count them, sees how many each rank has.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import torch
from torch.utils import _pytree as pytree

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.errors_by_rank import ErrorsByRank
from polyrank.numbers.rank_dependent_index import as_number
from polyrank.numbers.rank_dependent_numbers import (
    is_rank_dependent_number,
    number_on_rank,
    rank_dependent_int,
)
from polyrank.replacing.code_of import IN_POLYRANK, IN_TORCH, is_of_library


class Pieces(tuple[torch.Tensor, ...]):  # noqa: SLOT001 - it has attributes
    """What `chunk`, `split`, `tensor_split` and `unbind` return in a mode.

    A tuple; beyond what tuples can, a rank-dependent int gives each rank its own piece: a view of
    the tensor that was taken apart, as each rank alone would get.
    """

    whole: torch.Tensor
    dim: int
    keeps_dim: bool  # False: unbind
    counts: dict[int, int] | None = None  # by rank, where ranks have different numbers of pieces

    def __len__(self) -> int:
        if self.counts is not None:
            _refuse_to_count(self.counts)
        return super().__len__()

    def __iter__(self) -> Iterator[torch.Tensor]:
        if self.counts is not None:
            _refuse_to_count(self.counts)
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        """One piece or, for a slice, a tuple of some.

        Raises:
            IndexError: there is no such piece on any rank.
            DivergenceError: some ranks have no such piece.
        """
        number = as_number(index)
        if not is_rank_dependent_number(number):
            if self.counts is not None and not (
                isinstance(number, int) and 0 <= number < min(self.counts.values())
            ):
                _refuse_to_count(self.counts)
            return super().__getitem__(number)
        positions = self._positions(number.node._local_ints)
        if not self.keeps_dim:
            return self.whole.select(self.dim, rank_dependent_int(positions))
        begin: dict[int, int] = {}
        length: dict[int, int] = {}
        for rank, position in positions.items():
            sizes = [number_on_rank(piece.size(self.dim), rank) for piece in super().__iter__()]
            begin[rank] = sum(itertools.islice(sizes, position))
            length[rank] = sizes[position]
        return self.whole.narrow(self.dim, rank_dependent_int(begin), rank_dependent_int(length))

    def _positions(self, indices: dict[int, int]) -> dict[int, int]:
        positions = {}
        errors = ErrorsByRank("the choice of a piece")
        for rank, index in indices.items():
            count = super().__len__() if self.counts is None else self.counts[rank]
            with errors.of([rank]):
                if not -count <= index < count:
                    raise IndexError(
                        f"rank {rank} asks for piece {index} of {count}; valid: {-count} to {count - 1}"
                    )
                positions[rank] = index % count
        errors.rethrow()
        return positions


def _refuse_to_count(counts: dict[int, int]) -> NoReturn:
    raise DivergenceError(
        f"a tensor was taken into another number of pieces on each rank: {rank_dependent_int(counts)}. One "
        "program runs for all ranks, with one list: choose each rank's piece (`pieces[rank]`), take as many "
        "on all (`torch.tensor_split`), or run the program in the threads world (`polyrank run --world "
        "threads`)."
    )


pytree.register_pytree_node(
    Pieces,
    lambda pieces: (list(pieces), None),
    lambda pieces, _: tuple(pieces),
    serialized_type_name="polyrank.Pieces",
)


def tensor_split(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Pieces:
    """`torch.tensor_split` and `split_with_sizes`, where `original` is PyTorch's own: `dim` comes third."""
    return _pieces(original, args, kwargs, position_of_dim=2, keeps_dim=True)


def chunk(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Pieces:
    """`torch.chunk` and `split`, which give shorter tensors fewer pieces."""
    pieces = tensor_split(original, *args, **kwargs)
    given = args[1:2] or [kwargs[name] for name in _SIZES if name in kwargs]
    has_number = not any(isinstance(one, list | tuple) for one in given)
    if has_number and pieces and not _is_alike(pieces[-1]) and _is_asked_by_program():
        counts = _counts_by_rank(pieces)
        if len(set(counts.values())) > 1:
            pieces.counts = counts
    return pieces


# How the second argument is called: of chunk, Tensor.split and torch.split.
_SIZES = ("chunks", "split_size", "split_size_or_sections")


def _is_alike(piece: torch.Tensor) -> bool:
    return not _C.is_local_tensor(piece) or _C.has_uniform_geometry(piece)


# Functions of these do what their callers ask.
_THROUGH = (IN_POLYRANK, f"{IN_TORCH}_tensor.py", f"{IN_TORCH}functional.py")


def _is_asked_by_program() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_THROUGH):
        frame = frame.f_back
    return frame is not None and not is_of_library(frame.f_code.co_filename)


def _counts_by_rank(pieces: Pieces) -> dict[int, int]:
    """How many pieces each rank has: those up to its last that is not empty, at least one."""
    counts = dict.fromkeys(_C.ranks_of(pieces.whole), 1)
    for number, piece in enumerate(pieces, 1):
        size = piece.size(pieces.dim)
        for rank in counts:
            if number_on_rank(size, rank) > 0:
                counts[rank] = number
    return counts


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
