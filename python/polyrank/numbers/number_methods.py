"""What Python's ints and floats can do and PyTorch's SymInt and SymFloat can't, for numbers that differ.

NumPy takes any object that it does not know for one of dtype `object`, and computes with it in Python: without
the dtype's range and rounding. It is refused there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from polyrank.errors import DivergenceError
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number, number_of_ranks
from polyrank.replacing.row import Row, with_original

try:
    import numpy as np
except ImportError:  # PyTorch does without it, and so do we
    np = None  # type: ignore[assignment]

__all__ = ["ROWS"]


def _divmod(self: Any, other: Any) -> tuple[Any, Any]:
    return self // other, self % other


def _rdivmod(self: Any, other: Any) -> tuple[Any, Any]:
    return other // self, other % self


def _invert(self: Any) -> Any:
    return -self - 1


def _each(number: Any, function: Callable[[Any], Any]) -> Any:
    """What the function gives on each rank."""
    return number_of_ranks(
        {rank: function(value) for rank, value in number.node._local_ints.items()}
    )


def _bit_count(self: Any) -> Any:
    return _each(self, int.bit_count)


def _bit_length(original: Callable[[Any], int], number: Any) -> Any:
    return _each(number, int.bit_length) if is_rank_dependent_number(number) else original(number)


def _round(original: Callable[..., Any], number: Any, ndigits: int | None = None) -> Any:
    """`round(rank, -2)`: PyTorch's leaves an int as it is."""
    if ndigits is None or ndigits >= 0 or not is_rank_dependent_number(number):
        return original(number, ndigits)
    return _each(number, lambda value: round(value, ndigits))


def _to_bytes(self: Any, *_: Any, **__: Any) -> NoReturn:
    raise DivergenceError(
        f"a number that differs between ranks, {self}, would be written as bytes, which have one value for all "
        "ranks. Keep it in a tensor, or run the program in the threads world (`polyrank run --world threads`)."
    )


def _array(self: Any, *_: Any, **__: Any) -> Any:
    if not is_rank_dependent_number(
        self
    ):  # of a symbolic shape: as NumPy takes what it does not know
        result = np.empty((), dtype=object)
        result[()] = self
        return result
    raise DivergenceError(
        f"NumPy was given a number that differs between ranks, {self}, and its arrays have one value for all "
        "ranks. Compute with it in torch (`torch.tensor(number)`, `torch.from_numpy(array)[number]`), or run the "
        "program in the threads world (`polyrank run --world threads`)."
    )


def _always(own: Any) -> Callable[[Any], Any]:
    return lambda _: own


_ADDED = (
    *(
        ("SymInt", name, own)
        for name, own in (
            ("__divmod__", _divmod),
            ("__rdivmod__", _rdivmod),
            ("__invert__", _invert),
            ("bit_count", _bit_count),
            ("to_bytes", _to_bytes),
            ("numerator", property(lambda self: self)),
            ("denominator", property(lambda _: 1)),
        )
    ),
    *((owner, "real", property(lambda self: self)) for owner in ("SymInt", "SymFloat")),
    *((owner, "imag", property(lambda self: self * 0)) for owner in ("SymInt", "SymFloat")),
    *(
        (owner, "__array__", _array)
        for owner in ("SymInt", "SymFloat", "SymBool")
        if np is not None
    ),
)

ROWS = (
    Row(
        "torch:SymInt",
        "__round__",
        with_original(_round),
        "leaves an int as it is, whatever the digits",
    ),
    Row("torch:SymInt", "bit_length", with_original(_bit_length), "needs one int for all ranks"),
    *(
        Row(f"torch:{owner}", name, _always(own), "Python's numbers have it", is_added=True)
        for owner, name, own in _ADDED
    ),
)
