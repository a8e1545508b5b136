"""Ints beyond 64 bits that differ between ranks: Python's on each rank, and refused where torch takes 64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError, UsageError
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, number_on_rank

WORLD_SIZE = 4


@pytest.fixture
def rank() -> Iterator[Any]:
    with polyrank.lockstep(WORLD_SIZE):
        yield dist.get_rank()


ARITHMETIC: dict[str, Callable[[Any], Any]] = {
    "linear congruence": lambda x: (x * 6364136223846793005 + 1442695040888963407) % 2**64,
    "masked product": lambda x: ((x + 3389127133) * 3801237152) & 0xFFFFFFFF,
    "mask of 64 bits": lambda x: x & (2**64 - 1),
    "minus one masked": lambda x: (x - 1) & (2**64 - 1),
    "plus": lambda x: x + 2**70,
    "from the left": lambda x: 2**70 - x,
    "twice": lambda x: (x + 2**62) * 8 - 2**64,
    "back again": lambda x: (x << 70) >> 70,
    "shifted one": lambda x: 1 << (x * 40),
    "power": lambda x: (x + 2) ** 70,
    "power of two": lambda x: 2 ** (x * 40),
    "negative": lambda x: -(x + 2**63),
    "lowest": lambda x: abs(x - 2**63),
    "quotient": lambda x: 2**80 // (x + 3),
    "rounded": lambda x: round((x + 7) * 2**70, -3),
    "true quotient": lambda x: (x + 2**70) / 3,
    "as a float": lambda x: (x + 2**70) * 0.5,
    "exclusive or": lambda x: (x + 2**65) ^ 0xFF,
    "or": lambda x: (x << 66) | 5,
    "inverted": lambda x: ~(x << 66),
    "divmod": lambda x: divmod((x + 1) * 2**70, x + 7),
    "bit length": lambda x: ((x + 1) << 70).bit_length(),
    "bit count": lambda x: (x + 2**70).bit_count(),
    "less": lambda x: (x << 70) < (1 << 71),
    "equal": lambda x: x + 2**70 == 2**70 + 1,
    "same on all": lambda x: (x + 2**70) // 2**69,
    "sum": lambda x: sum([x + 2**70, x, 2**70]),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_pythons_on_each_rank(name: str, rank: Any) -> None:
    together = ARITHMETIC[name](rank)
    for own in range(WORLD_SIZE):
        expected = ARITHMETIC[name](own)
        results = together if isinstance(together, tuple) else (together,)
        for result, value in zip(
            results, expected if isinstance(expected, tuple) else (expected,), strict=True
        ):
            on_rank = number_on_rank(result, own)
            assert (type(on_rank), on_rank) == (type(value), value)


TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "tensor": lambda wide, _: torch.tensor(wide),
    "tensor of a list": lambda wide, _: torch.tensor([wide, 1]),
    "plus": lambda wide, x: x + wide,
    "from the left": lambda wide, x: wide - x,
    "compared": lambda wide, x: x == wide,
    "alpha": lambda wide, x: torch.add(x, 1, alpha=wide),
    "fill": lambda wide, x: x.fill_(wide),
    "full": lambda wide, _: torch.full((2,), wide),
    "where": lambda wide, x: torch.where(x > 0, wide, 0),
    "index": lambda wide, x: x[wide],
    "narrow": lambda wide, x: x.narrow(0, 0, wide),
    "power": lambda wide, x: torch.pow(x, wide),
    "item": lambda wide, x: x.__setitem__(0, wide),
    "dim": lambda wide, x: x.sum(wide),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_refuses_them(name: str, rank: Any) -> None:
    with pytest.raises(UsageError, match="more than 64 bits"):
        TORCH[name](rank + 2**70, torch.ones(4))


def test_a_size_of_more_than_64_bits_is_refused(rank: Any) -> None:
    with pytest.raises(TypeError, match="more than 64 bits"):
        torch.zeros(rank + 2**70)


def test_a_comparison_of_64_bits_with_more_is_refused(rank: Any) -> None:
    with pytest.raises(UsageError, match="subtract"):
        assert rank < 2**70
    assert rank - 2**70 < 0


def test_what_has_a_million_bits_is_refused(rank: Any) -> None:
    with pytest.raises(UsageError, match="bits"):
        (rank + 2**70) << (1 << 40)
    with pytest.raises(UsageError, match="64 bits"):
        1 << ((rank + 1) << 40)


def test_errors_are_those_of_each_rank(rank: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        (rank + 2**70) // 0
    with pytest.raises(DivergenceError, match="division by zero on rank 0"):
        2**60 // rank
    with pytest.raises(DivergenceError, match="on rank 0"):
        2**70 // rank
    with pytest.raises(DivergenceError, match="one int is needed"):
        int(rank + 2**70)
    with pytest.raises(DivergenceError, match="ranks disagree"):
        bool(rank + 2**70 == 2**70)


def test_its_text_is_as_of_narrower_ones(rank: Any) -> None:
    wide = rank // 2 + 2**64
    assert str(wide) == "LocalIntNode({0-1: 18446744073709551616, 2-3: 18446744073709551617})"
    assert f"{wide:x}" == "LocalIntNode({0-1: 10000000000000000, 2-3: 10000000000000001})"
    assert is_rank_dependent_number(wide)
    assert isinstance(wide, int)


def draws(seed: Any) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.rand(3)


def test_a_seed_has_64_bits_with_or_without_sign() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        rank: Any = dist.get_rank()
        together = [draws(rank + 2**63 - 2), draws(-rank)]
        with pytest.raises(UsageError, match="seed from"):
            torch.manual_seed(rank + 2**64)
    for own in range(WORLD_SIZE):
        alone = polyrank.run_ranks(draws, 1, own + 2**63 - 2, world="threads")[0]
        assert torch.equal(together[0].on_rank(own), alone)  # type: ignore[attr-defined]
        alone = polyrank.run_ranks(draws, 1, -own, world="threads")[0]
        assert torch.equal(together[1].on_rank(own), alone)  # type: ignore[attr-defined]
