"""How a program's values are found among those of its reference."""

from __future__ import annotations

import torch
from polyrank.divergence.content import content_of
from polyrank.divergence.reference.known_values import KnownValues
from polyrank.divergence.reference.pieces import Match, families_of
from polyrank.divergence.reference.values import ValueLog

WHOLE = torch.arange(32.0).reshape(4, 8).sin()


def copies_of(*tensors: torch.Tensor) -> dict[bytes, torch.Tensor]:
    copies: dict[bytes, torch.Tensor] = {}
    for tensor in tensors:
        content_of(tensor, (0,), copies)
    return copies


def find(
    known: list[torch.Tensor], pieces: dict[int, torch.Tensor], factors: tuple[float, ...] = (1.0,)
) -> Match | None:
    digests = set(copies_of(*pieces.values()))
    return KnownValues(copies_of(*known)).find(
        pieces, digests, families_of(len(pieces)), factors=factors, sums=(1.0, 2.0)
    )


def relation(known: list[torch.Tensor], pieces: dict[int, torch.Tensor]) -> str:
    found = find(known, pieces)
    return "" if found is None else found.relation


def test_values_are_found_as_they_lie_in_one_of_the_known() -> None:
    known = [torch.ones(3), WHOLE + 7, torch.randn(4, 8), WHOLE, torch.randn(8, 8)]
    assert relation(known, {0: WHOLE, 1: WHOLE.clone()}) == "the same"
    assert relation(known, {0: WHOLE, 1: WHOLE * (1 + 1e-6)}) == "the same"
    assert relation(known, {0: WHOLE[:, :4], 1: WHOLE[:, 4:]}) == "a part"
    assert relation(known, {0: WHOLE[:3], 1: WHOLE[3:]}) == "a part"
    assert relation(known, {0: WHOLE * 0.25, 1: WHOLE * 0.75}) == "a part of a sum"
    assert relation(known, {0: WHOLE - 1, 1: WHOLE + 1}) == "a part of a sum"  # of an average


def test_values_that_are_off_are_not_found() -> None:
    assert relation([WHOLE], {0: WHOLE, 1: WHOLE + 1e-2}) == ""
    assert relation([WHOLE], {0: WHOLE * 3, 1: WHOLE * 3}) == ""
    assert relation([WHOLE[:2]], {0: WHOLE, 1: WHOLE}) == ""
    assert relation([], {0: WHOLE, 1: WHOLE}) == ""


def test_a_multiple_is_found_where_it_may_be_one() -> None:
    found = find([WHOLE], {0: WHOLE * 2, 1: WHOLE * 2}, factors=(1.0, 2.0))
    assert found == Match("the same", 0.0, 2.0)


def test_each_rank_must_be_in_the_same_value() -> None:
    other = WHOLE + 7
    assert relation([WHOLE, other], {0: WHOLE[:2], 1: other[2:]}) == ""


def test_garbage_is_like_nothing() -> None:
    """What a tensor holds that nobody wrote may be as large as can be; so may be what it is taken for."""
    assert relation([torch.full((4, 8), 1e30)], {0: WHOLE, 1: WHOLE + 1}) == ""


def test_zero_and_one_prove_no_sum() -> None:
    pieces = {0: torch.tensor(0.25), 1: torch.tensor(0.75)}
    assert relation([torch.tensor(1.0)], pieces) == ""
    assert relation([torch.tensor(1.0), torch.tensor([1.0])], {0: WHOLE, 1: -WHOLE}) == ""


def test_what_operators_take_is_kept_unless_nobody_wrote_it() -> None:
    copies: dict[bytes, torch.Tensor] = {}
    x = torch.ones(3)
    with ValueLog((0,), copies, {}):
        y = torch.empty(5).fill_(2.0)
        z = (x * 3).add_(1)
        z.mul_(torch.empty_like(y).view(5)[:3].fill_(5.0))
        torch.arange(4) + 1
    kept = sorted(tensor.tolist() for tensor in copies.values())
    assert kept == [[1.0] * 3, [2.0] * 5, [3.0] * 3, [4.0] * 3, [5.0] * 3]
