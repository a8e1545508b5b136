"""Python's functions of numbers, given ones that differ between ranks: each rank gets its own result.

They are written in C and take Python's own numbers alone. Those of `math` give a number for each rank;
`time.sleep` sleeps as long as the rank that sleeps longest, as nobody goes on before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from polyrank.errors_by_rank import ErrorsByRank
from polyrank.numbers.rank_dependent_numbers import (
    is_rank_dependent_number,
    number_of_ranks,
    number_on_rank,
)
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

_FUNCTIONS = (
    *(
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "copysign",
        "cos",
        "cosh",
    ),
    *("degrees", "erf", "erfc", "exp", "exp2", "expm1", "fabs", "fmod", "gamma", "hypot", "lgamma"),
    *("log", "log10", "log1p", "log2", "pow", "radians", "sin", "sinh", "sqrt", "tan", "tanh"),
    *("comb", "factorial", "gcd", "isqrt", "lcm", "perm", "ldexp", "nextafter", "remainder", "ulp"),
    *("isclose", "isfinite", "isinf", "isnan"),
)


def _of_each_rank(original: Callable[..., Any], *numbers: Any, **options: Any) -> Any:
    """What a function gives on each rank; its error names the ranks."""
    differing = [number for number in numbers if is_rank_dependent_number(number)]
    if not differing:
        return original(*numbers, **options)
    results = {}
    errors = ErrorsByRank(f"math.{original.__name__} of {', '.join(map(str, numbers))}")
    for rank in differing[0].node._local_ints:
        with errors.of([rank]):
            own = (number_on_rank(number, rank) for number in numbers)
            results[rank] = original(*own, **options)
    errors.rethrow()
    return number_of_ranks(results)


def _sleep(original: Callable[[float], None], seconds: Any) -> None:
    if is_rank_dependent_number(seconds):
        seconds = max(seconds.node._local_ints.values())
    original(seconds)


_WHY = "takes one number for all ranks"

ROWS = (
    *(
        Row("math", name, with_original(_of_each_rank), _WHY)
        for name in _FUNCTIONS
        if hasattr(math, name)
    ),
    Row("time", "sleep", with_original(_sleep), _WHY),
)
