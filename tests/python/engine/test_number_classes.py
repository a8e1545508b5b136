"""Numbers that differ between ranks are of Python's classes to a program that asks."""

from __future__ import annotations

import copy
import json
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist


@pytest.fixture
def rank() -> Iterator[Any]:
    """The rank of a world."""
    with polyrank.lockstep(4):
        yield dist.get_rank()


def kind_of(value: Any) -> str:
    """By patterns of classes."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case _:
            return "other"


MADE: dict[str, Callable[[Any], Any]] = {
    "the rank": lambda r: r,
    "a sum": lambda r: r + 1,
    "a quotient": lambda r: r / 2,
    "a product": lambda r: r * 1.5,
    "a comparison": lambda r: r > 1,
    "of functions": lambda r: max(r, 5),
}


@pytest.mark.parametrize("how", MADE)
def test_classes_are_those_of_one_ranks_number(how: str, rank: Any) -> None:
    of_all, of_one = MADE[how](rank), MADE[how](2)
    for cls in (int, float, bool, str, complex, numbers.Integral, numbers.Real, numbers.Number):
        assert isinstance(of_all, cls) == isinstance(of_one, cls), cls
    assert isinstance(of_all, (str, type(of_one)))
    assert issubclass(of_all.__class__, of_one.__class__)
    assert kind_of(of_all) == kind_of(of_one)


def test_they_are_pytorchs_classes_as_well(rank: Any) -> None:
    assert isinstance(rank, torch.SymInt)
    assert type(rank) is torch.SymInt
    assert isinstance(rank > 1, torch.SymBool)


def test_pytorch_and_pythons_library_see_what_they_are(rank: Any) -> None:
    filled = torch.full((2,), rank)
    assert [filled.on_rank(each).tolist() for each in (0, 3)] == [[0, 0], [3, 3]]  # type: ignore[attr-defined]
    assert repr(copy.deepcopy(rank)) == repr(rank) == repr(copy.copy(rank))
    assert torch.sym_max(rank, 5) == 5
    with pytest.raises(polyrank.DivergenceError, match="JSON has no form"):
        json.dumps([rank], indent=1)


def test_numbers_that_do_not_differ_are_as_ever(rank: Any) -> None:
    assert kind_of(rank * 0) == "int"
    assert type(dist.get_world_size()) is int


def test_outside_of_the_mode_they_are_pytorchs() -> None:
    with polyrank.lockstep(4):
        rank = dist.get_rank()
    assert not isinstance(rank, int)
    assert "__class__" not in vars(torch.SymInt)
    assert torch.SymInt.__class__ is type
