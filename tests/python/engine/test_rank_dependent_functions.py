"""Python's functions, given numbers that differ between ranks: each rank's result, or an error that says so."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import itertools
import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.rank_text.taken_for_one import showing

OF_ONE = ["sqrt", "exp", "log1p", "cos", "atan", "fabs", "degrees", "factorial", "isqrt", "tanh"]
OF_TWO = ["pow", "hypot", "atan2", "gcd", "lcm", "comb", "copysign", "fmod"]


def values_of(number: Any) -> list[Any]:
    with polyrank.maybe_disable_local_tensor_mode():
        return [number.node._local_ints[rank] for rank in range(4)]


@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
def test_functions_of_math_give_each_rank_its_own(name: str) -> None:
    function = getattr(math, name)
    others = (5,) if name in OF_TWO else ()
    with polyrank.lockstep(4):
        mine = function(dist.get_rank() + 1, *others)
        plain = function(3, *others)
    expected = [function(rank + 1, *others) for rank in range(4)]
    assert values_of(mine) == expected if len(set(expected)) > 1 else mine == expected[0]
    assert plain == function(3, *others)


def test_a_result_that_all_ranks_have_is_a_plain_number() -> None:
    with polyrank.lockstep(4):
        assert math.fabs(dist.get_rank() % 2 * 2 - 1) == 1.0
        assert math.isnan(math.hypot(math.nan, dist.get_rank()))


def test_a_function_that_fails_on_a_rank_names_it() -> None:
    with polyrank.lockstep(4), pytest.raises(polyrank.DivergenceError) as caught:
        math.log(2 - dist.get_rank())
    with showing():
        assert str(caught.value).startswith(
            "math.log of {0: 2, 1: 1, 2: 0, 3: -1} by rank raises an error on ranks 2-3, and none on "
            "ranks 0-1. On rank 2: ValueError: math domain error"
        )


def test_sleep_takes_as_long_as_the_rank_that_sleeps_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with polyrank.lockstep(4):
        rank = dist.get_rank()
        before = time.monotonic()
        time.sleep(rank * 0.01)
        assert time.monotonic() - before >= 0.03
        time.sleep(0)


def test_a_logged_number_shows_all_ranks_values(caplog: pytest.LogCaptureFixture) -> None:
    with polyrank.lockstep(4):
        logging.getLogger().warning("rank %d of %d at %.2f%%", dist.get_rank(), 4, 0.5)
        assert "rank LocalIntNode({0: 0, 1: 1, 2: 2, 3: 3}) of 4 at 0.5%" in caplog.text


REFUSED: dict[str, Callable[[Any], Any]] = {
    "Decimal": lambda rank: decimal.Decimal(rank),
    "Fraction": lambda rank: fractions.Fraction(rank),
    "pow with a modulus": lambda rank: pow(2, rank, 3),
    "islice": lambda rank: list(itertools.islice("abcd", rank)),
    "timedelta": lambda rank: datetime.timedelta(seconds=rank),
    "a deque's length": lambda rank: collections.deque(maxlen=rank),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_pythons_is_told_as_what_it_is(name: str) -> None:
    with pytest.raises(polyrank.DivergenceError) as caught, polyrank.lockstep(4):
        REFUSED[name](dist.get_rank())
    said = str(caught.value)
    assert (
        f"{type(caught.value.__cause__).__name__}: {caught.value.__cause__}, at {__file__}" in said
    )
    assert "rank = {0: 0, 1: 1, 2: 2, 3: 3} by rank" in said
    assert "--world threads" in said
    assert isinstance(caught.value.__cause__, TypeError | ValueError | IndexError | AttributeError)


def test_a_program_keeps_errors_that_are_its_own() -> None:
    with pytest.raises(ValueError, match="bad rank LocalIntNode"), polyrank.lockstep(4):
        raise ValueError(f"bad rank {dist.get_rank()}")
    with pytest.raises(ValueError, match="argument must be"), polyrank.lockstep(4):
        assert decimal.Decimal([])  # type: ignore[arg-type]
    with polyrank.lockstep(4):  # and may catch Python's
        with pytest.raises(TypeError):
            decimal.Decimal(dist.get_rank())
        assert torch.ones(1).item() == 1


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
def test_a_name_in_other_letters_names_no_file(change: Callable[[str], str]) -> None:
    with polyrank.lockstep(4), pytest.raises(polyrank.DivergenceError, match="would be named"):
        os.open(change(f"step_{dist.get_rank()}"), os.O_RDONLY)
