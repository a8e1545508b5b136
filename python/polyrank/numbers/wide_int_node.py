"""Ints beyond 64 bits that differ between ranks: each rank's is one of Python's.

NOTE [Wide ints]
PyTorch's ints have 64 bits, Python's have as many as they need, and programs go beyond 64 on the way to fewer:
`(seed * 6364136223846793005 + 1) & 0xFFFFFFFF`, or torch's own seeds of DataLoader workers. A `LocalIntNode`
holds 64 bits. Where an operation has no result in them, or an operand has more, Python computes it for each rank,
and a `WideIntNode` holds what comes of it; a result that fits again is a `LocalIntNode` again. PyTorch's
C++, which takes 64 bits, is refused as it takes the node. So is a comparison of 64 bits with more, which the C++ of
`LocalIntNode` makes: it depends on who asks, who has to be seen next to it.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from torch.fx.experimental import sym_node

from polyrank import _C
from polyrank._C import LocalBoolNode, LocalFloatNode, LocalIntNode, LocalNode
from polyrank.errors import DivergenceError, UnsupportedOpError, UsageError
from polyrank.errors_by_rank import ErrorsByRank
from polyrank.numbers.number_text import number_text

__all__ = ["WideIntNode", "node_of_ranks"]

_ASKS_IN_PYTHON = (sym_node.__file__, __file__)

_MIN, _MAX = -(2**63), 2**63 - 1
# More than a program means; Python would be busy with them, or out of memory.
_MAX_BITS = 1 << 20

# By the names that torch.SymInt asks its node for.
_INT_RESULTS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "mod": operator.mod,
    "pow": pow,
    "pow_by_natural": pow,
    "floordiv": operator.floordiv,
    "int_floordiv": operator.floordiv,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "sym_min": min,
    "sym_max": max,
}
_FLOAT_RESULTS: dict[str, Callable[[Any, Any], Any]] = {
    "truediv": operator.truediv,
    "int_truediv": operator.truediv,
    "float_truediv": operator.truediv,
    "float_pow": pow,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
_OF_ONE: dict[str, Callable[[Any], Any]] = {
    "neg": operator.neg,
    "abs": abs,
    "pos": operator.pos,
    "sym_float": float,
    "sym_not": operator.not_,
    "is_integer": lambda _: True,
    **dict.fromkeys(("trunc", "sym_int", "floor", "ceil"), operator.pos),
}


class WideIntNode:
    """The node of a SymInt with more than 64 bits on some rank, or of one that all ranks share."""

    def __init__(self, value_of_rank: dict[int, int]) -> None:
        self._local_ints = value_of_rank

    def is_int(self) -> bool:
        """Whether it is of a SymInt, for SymInt's operators; C++ asks as it takes a node, and is refused."""
        if sys._getframe(1).f_code.co_filename not in _ASKS_IN_PYTHON:
            self._refuse()
        return True

    def is_float(self) -> bool:
        return False

    def is_bool(self) -> bool:
        return False

    def is_nested_int(self) -> bool:
        return False

    def is_symbolic(self) -> bool:
        return False

    def has_hint(self) -> bool:
        return True

    def is_constant(self) -> bool:
        """Whether it is the same on all ranks; then SymInt's operators ask for the plain one."""
        return len(set(self._local_ints.values())) == 1

    def int_(self) -> int:
        """One int for all ranks.

        Raises:
            DivergenceError: they differ.
        """
        if not self.is_constant():
            raise DivergenceError(
                f"one int is needed for all ranks, and they differ: {self._local_ints} by rank. Use the "
                "rank-dependent number itself in arithmetic, or run the program with `polyrank run --world "
                "threads` (the threads world), where each rank runs its own program."
            )
        return next(iter(self._local_ints.values()))

    def guard_int(self, _file: str, _line: int) -> int:
        """One int for all ranks, for SymInt's operators."""
        return self.int_()

    constant_int = int_

    def _refuse(self, *_: Any) -> NoReturn:
        raise UsageError(
            f"an int has more than 64 bits on some rank, {self._local_ints} by rank, where one of 64 bits is taken: as "
            "a size, by torch's functions, next to one of 64 in a comparison. Take fewer bits before (`number & "
            "0xFFFFFFFF`), or a float (`number * 1.0`); to compare, subtract (`number - 2**70 < 0`)."
        )

    maybe_as_int = guard_bool = guard_size_oblivious = expect_size = nested_int = sym_sum = _refuse

    def wrap_int(self, value: int) -> Any:
        return WideIntNode(dict.fromkeys(self._local_ints, value))

    def wrap_float(self, value: float) -> Any:
        return LocalFloatNode(dict.fromkeys(self._local_ints, value))

    def wrap_bool(self, value: bool) -> Any:
        return LocalBoolNode(dict.fromkeys(self._local_ints, value))

    def round(self, ndigits: int | None = None) -> Any:
        return _of_ranks(lambda value: round(value, ndigits), self)

    def __repr__(self) -> str:
        return number_text("LocalIntNode", self._local_ints, repr)

    _str = _graph_repr = __repr__

    def __reduce__(self) -> Any:
        return WideIntNode, (self._local_ints,)


def node_of_ranks(values: dict[int, Any]) -> Any:
    """The node of a number of this kind: of bools, ints or floats."""
    if all(isinstance(value, bool) for value in values.values()):
        return LocalBoolNode(values)
    if not all(isinstance(value, int) for value in values.values()):
        return LocalFloatNode({rank: float(value) for rank, value in values.items()})
    is_narrow = all(_MIN <= value <= _MAX for value in values.values())
    return (
        LocalIntNode(values) if is_narrow and len(set(values.values())) > 1 else WideIntNode(values)
    )


def _values(node: Any, like: Any) -> dict[int, Any]:
    """What each rank has of an operand."""
    values = getattr(node, "_local_ints", None)
    if values is None:
        value = node if isinstance(node, int | float) else node.maybe_as_int()
        if value is None:
            raise UnsupportedOpError(
                f"a rank-dependent number meets something else: {like} and {node}. Operands can be numbers."
            )
        return dict.fromkeys(like._local_ints, value)
    if values.keys() != like._local_ints.keys():
        raise UsageError(
            f"numbers of other ranks meet: one is over ranks {_C.RankSet(sorted(like._local_ints))}, the other over "
            f"ranks {_C.RankSet(sorted(values))}"
        )
    return values  # type: ignore[no-any-return]


def _of_ranks(function: Callable[..., Any], *nodes: Any) -> Any:
    """The node of what Python gives on each rank.

    Raises:
        DivergenceError: on some ranks alone it is an error.
        UsageError: a result is too long.
    """
    operands = [_values(node, nodes[0]) for node in nodes]
    results = {}
    errors = ErrorsByRank(f"{getattr(function, '__name__', 'an operation')} of {nodes}")
    for rank in operands[0]:
        with errors.of([rank]):
            results[rank] = _of_one(function, rank, [values[rank] for values in operands])
    errors.rethrow()
    return node_of_ranks(results)


def _of_one(function: Callable[..., Any], rank: int, own: list[Any]) -> Any:
    """What Python gives on one rank."""
    if function in (pow, operator.lshift) and _is_long(function, *own):
        raise UsageError(
            f"the result has more than {_MAX_BITS} bits on rank {rank}: {function.__name__} of {own[0]} and {own[1]}"
        )
    return function(*own)


def _is_long(function: Callable[..., Any], base: Any, by: Any) -> bool:
    if not (isinstance(base, int) and isinstance(by, int)) or by < 0 or base in (-1, 0, 1):
        return function is operator.lshift and by > _MAX_BITS
    bits = base.bit_length() * by if function is pow else base.bit_length() + by
    return bool(bits > _MAX_BITS)


def _narrow_first(name: str, function: Callable[..., Any], *, is_int: bool) -> Any:
    """A method of `LocalNode`: its own, and for what has no place in 64 bits Python's."""
    original = getattr(LocalNode, name)

    @functools.wraps(original)
    def method(*positional: Any, **named: Any) -> Any:
        operands = (*positional, *named.values())
        if any(type(operand) is WideIntNode for operand in operands):
            return _of_ranks(function, *operands)
        try:
            return original(*positional, **named)
        except (UsageError, DivergenceError):
            result = _wide_or_none(function, *operands) if is_int else None
            if result is None:
                raise
            return result

    return method


def _wide_or_none(function: Callable[..., Any], *nodes: Any) -> WideIntNode | None:
    """A result that 64 bits were too few for; None where the error was another."""
    try:
        operands = [_values(node, nodes[0]) for node in nodes]
        results = {
            rank: _of_one(function, rank, [values[rank] for values in operands])
            for rank in operands[0]
        }
    except (ArithmeticError, ValueError, TypeError, AttributeError):
        return None
    if not all(type(result) is int for result in results.values()):
        return None
    result = node_of_ranks(results)
    return result if isinstance(result, WideIntNode) else None


def _wrap_int(original: Callable[..., Any]) -> Any:
    @functools.wraps(original)
    def wrap_int(self: Any, num: int) -> Any:
        if _MIN <= num <= _MAX:
            return original(self, num)
        return WideIntNode(dict.fromkeys(self._local_ints, num))

    return wrap_int


def _binary(function: Callable[..., Any]) -> Any:
    return lambda self, other: _of_ranks(function, self, other)


def _unary(function: Callable[..., Any]) -> Any:
    return lambda self: _of_ranks(function, self)


def _install() -> None:
    for name, function in (_INT_RESULTS | _FLOAT_RESULTS | _COMPARISONS).items():
        setattr(WideIntNode, name, _binary(function))
        if name not in _COMPARISONS:
            setattr(LocalNode, name, _narrow_first(name, function, is_int=name in _INT_RESULTS))
    for name, of_one in _OF_ONE.items():
        setattr(WideIntNode, name, _unary(of_one))
    for name in ("neg", "abs"):
        setattr(LocalNode, name, _narrow_first(name, _OF_ONE[name], is_int=True))
    setattr(LocalNode, "wrap_int", _wrap_int(getattr(LocalNode, "wrap_int")))  # noqa: B009, B010 - no stub has it


_install()
