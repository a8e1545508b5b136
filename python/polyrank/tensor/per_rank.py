"""Python objects that differ between ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch

from polyrank import _C
from polyrank.errors import DivergenceError, UsageError
from polyrank.numbers.rank_dependent_numbers import rank_dependent_int
from polyrank.tensor.local_tensor import LocalTensor

__all__ = ["PerRank"]


class PerRank:
    """One object for each rank, where ranks hold what neither tensors nor ints can express.

    Object collectives take it (`all_gather_object(out, polyrank.PerRank({0: "a", 1: "b"}))`) and
    give it, as in `scatter_object_list` of strings. It is none of the objects itself: using it as
    one is an error.
    """

    def __init__(self, object_of_rank: Mapping[int, Any]) -> None:
        if not object_of_rank:
            raise UsageError("a PerRank needs an object for at least one rank")
        self._objects = dict(sorted(object_of_rank.items()))

    def on_rank(self, rank: int) -> Any:
        """The object that `rank` holds."""
        if rank not in self._objects:
            raise UsageError(f"rank {rank} holds no object; {self._ranks()} do")
        return self._objects[rank]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PerRank):
            return self._objects == other._objects
        return self._refuse(f"compared with {other!r}")

    def __hash__(self) -> int:
        return self._refuse("taken as a key")

    def __bool__(self) -> bool:
        return self._refuse("used as a condition")

    def __repr__(self) -> str:
        ranks_of: dict[str, list[int]] = {}
        for rank, value in self._objects.items():
            ranks_of.setdefault(repr(value), []).append(rank)
        parts = (f"ranks {_C.RankSet(ranks)}: {text}" for text, ranks in ranks_of.items())
        return f"PerRank({', '.join(parts)})"

    def _ranks(self) -> str:
        return f"ranks {_C.RankSet(list(self._objects))}"

    def _refuse(self, what: str) -> NoReturn:
        raise DivergenceError(
            f"{self!r} was {what}, but ranks hold different objects. Take one rank's by "
            "`on_rank(rank)`, or run the program in the threads world."
        )


def merged(object_of_rank: Mapping[int, Any]) -> Any:
    """One object that stands for each rank's: tensors become LocalTensors, ints rank-dependent.

    Lists, tuples and dicts of one shape are merged element by element. What differs otherwise
    becomes a PerRank.
    """
    objects = list(object_of_rank.values())
    first = objects[0]
    if all(value is first for value in objects):
        return first
    merge = _MERGES.get(type(first))
    if merge is not None and all(type(value) is type(first) for value in objects):
        return merge(object_of_rank)
    return PerRank(object_of_rank)


def _merged_ints(object_of_rank: Mapping[int, Any]) -> Any:
    return rank_dependent_int(dict(object_of_rank))


def _merged_values(object_of_rank: Mapping[int, Any]) -> Any:
    # By their text, which tells -0.0 from 0.0 and knows NaN as itself.
    values = {repr(value): value for value in object_of_rank.values()}
    return values.popitem()[1] if len(values) == 1 else PerRank(object_of_rank)


def _merged_tensors(object_of_rank: Mapping[int, Any]) -> Any:
    detached = {id(tensor): tensor.detach() for tensor in object_of_rank.values()}
    if len({(t.dtype, t.device, t.layout, t.dim()) for t in detached.values()}) > 1:
        return PerRank(object_of_rank)
    return LocalTensor({rank: detached[id(tensor)] for rank, tensor in object_of_rank.items()})


def _merged_sequence(object_of_rank: Mapping[int, Any]) -> Any:
    lengths = {len(value) for value in object_of_rank.values()}
    if len(lengths) > 1:
        return PerRank(object_of_rank)
    kind = type(next(iter(object_of_rank.values())))
    return kind(
        merged({rank: value[i] for rank, value in object_of_rank.items()})
        for i in range(lengths.pop())
    )


def _merged_dict(object_of_rank: Mapping[int, Any]) -> Any:
    keys = list(next(iter(object_of_rank.values())))
    if any(list(value) != keys for value in object_of_rank.values()):
        return PerRank(object_of_rank)
    return {
        key: merged({rank: value[key] for rank, value in object_of_rank.items()}) for key in keys
    }


_MERGES: dict[type, Callable[[Mapping[int, Any]], Any]] = {
    int: _merged_ints,
    torch.Tensor: _merged_tensors,
    list: _merged_sequence,
    tuple: _merged_sequence,
    dict: _merged_dict,
    **dict.fromkeys((bool, float, complex, str, bytes, type(None)), _merged_values),
}
