"""Numbers that differ between ranks, as Python code meets them: SymInt, SymFloat and SymBool."""

from __future__ import annotations

from typing import Any

import torch

from polyrank._C import LocalBoolNode, LocalFloatNode, LocalNode
from polyrank.numbers.wide_int_node import WideIntNode, node_of_ranks


def rank_dependent_int(value_of_rank: dict[int, int]) -> int | torch.SymInt:
    """An int where all ranks agree, else a SymInt that differs between them."""
    values = set(value_of_rank.values())
    return values.pop() if len(values) == 1 else torch.SymInt(node_of_ranks(value_of_rank))  # type: ignore[no-untyped-call]


def number_of_ranks(value_of_rank: dict[int, int | float]) -> Any:
    """The one number where all ranks agree, to the last bit; else one that differs between them."""
    values = {
        repr(value): value for value in value_of_rank.values()
    }  # which knows NaN and the sign of 0
    if len(values) == 1:
        return next(iter(values.values()))
    if all(isinstance(value, bool) for value in values.values()):
        return torch.SymBool(LocalBoolNode(value_of_rank))  # type: ignore[no-untyped-call,arg-type]
    if all(isinstance(value, int) for value in values.values()):
        return torch.SymInt(node_of_ranks(value_of_rank))  # type: ignore[no-untyped-call]
    return torch.SymFloat(LocalFloatNode(value_of_rank))  # type: ignore[no-untyped-call]


def is_rank_dependent_number(value: Any) -> bool:
    """Whether `value` is a number that differs between ranks."""
    return isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool) and isinstance(
        value.node, LocalNode | WideIntNode
    )


def number_on_rank(value: Any, rank: int) -> Any:
    """A number as one rank has it."""
    return value.node._local_ints[rank] if is_rank_dependent_number(value) else value
