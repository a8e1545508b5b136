"""What Python's numbers can do, done with numbers that differ between ranks: as each rank's own."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, number_on_rank

WORLD_SIZE = 4


@pytest.fixture
def rank() -> Iterator[Any]:
    with polyrank.lockstep(WORLD_SIZE):
        yield dist.get_rank()


METHODS: dict[str, Callable[[Any], Any]] = {
    "round to tens": lambda x: round(x * 17, -1),
    "round to hundreds": lambda x: round(x * 77, -2),
    "round": round,
    "round to digits": lambda x: round(x, 2),
    "bit_length": lambda x: x.bit_length(),
    "bit_count": lambda x: x.bit_count(),
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
    "numerator": lambda x: x.numerator,
    "denominator": lambda x: x.denominator,
    "divmod": lambda x: divmod(x, 3),
    "rdivmod": lambda x: divmod(7, x + 1),
    "invert": lambda x: ~x,
    "real of a float": lambda x: (x / 2).real,
    "imag of a float": lambda x: (x / 2).imag,
    "isclose": lambda x: math.isclose(x, 1.1, rel_tol=0.2),
    "isfinite": lambda x: math.isfinite(x / 2),
    "isnan": lambda x: math.isnan(x * math.nan),
    "isinf": lambda x: math.isinf(x + 1e308 * 10),
    "ldexp": lambda x: math.ldexp(1.5, x),
    "remainder": lambda x: math.remainder(x, 2.5),
    "nextafter": lambda x: math.nextafter(x, 9.0),
    "ulp": lambda x: math.ulp(x + 0.5),
    "pickled": lambda x: pickle.loads(pickle.dumps([x, x / 2, x > 1])),
    "copied": lambda x: (copy.copy(x), copy.deepcopy([x, x > 1])),
}


def on_rank(value: Any, rank: int) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(on_rank(item, rank) for item in value)
    return number_on_rank(value, rank)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_each_rank_has_its_own_result(method: Callable[[Any], Any], rank: Any) -> None:
    result = method(rank)
    for own in range(WORLD_SIZE):
        expected = method(own)
        assert repr(on_rank(result, own)) == repr(expected)


@pytest.mark.parametrize("is_safe", [True, False])
def test_saved_and_loaded(is_safe: bool, rank: Any) -> None:
    file = io.BytesIO()
    torch.save({"rank": rank, "is_last": rank == WORLD_SIZE - 1}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=is_safe)
    assert on_rank([loaded["rank"], loaded["is_last"]], 3) == [3, True]
    assert on_rank([loaded["rank"], loaded["is_last"]], 0) == [0, False]


NUMPY: dict[str, Callable[[Any, Any], Any]] = {
    "a function": lambda x, _: np.exp(x),
    "an array": lambda x, _: np.array([1, x]),
    "a sum": lambda x, a: a + x,
    "a product from the left": lambda x, a: x * a,
    "an index": lambda x, a: a[x],
    "a comparison": lambda x, a: a == x,
    "in place": lambda x, a: a.__iadd__(x),
    "a mean": lambda x, _: np.mean([x / 2, 1.0]),
    "a bool": lambda x, _: np.where(x > 1, 1, 2),
    "a dtype": lambda x, _: np.float32(x / 2),
}


@pytest.mark.parametrize("function", NUMPY.values(), ids=NUMPY)
def test_numpy_is_refused(function: Callable[[Any, Any], Any], rank: Any) -> None:
    array = np.arange(4, dtype=np.float32)
    with pytest.raises(polyrank.DivergenceError):
        function(rank, array)
    assert array.tolist() == [0, 1, 2, 3]


def test_numpy_takes_what_all_ranks_agree_on(rank: Any) -> None:
    same = rank * 0 + 2
    assert not is_rank_dependent_number(same)
    assert np.arange(4)[same] == 2


def test_bytes_of_it_are_refused(rank: Any) -> None:
    with pytest.raises(polyrank.DivergenceError, match="written as bytes"):
        rank.to_bytes(2, "big")


def test_messages_may_be_taken_apart(rank: Any) -> None:
    with pytest.raises(polyrank.DivergenceError) as refused:
        hash(rank)
    message = str(refused.value)
    assert "{0: 0, 1: 1, 2: 2, 3: 3} by rank" in message
    assert message[:21] == "a number that differs"
