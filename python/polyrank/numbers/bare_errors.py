"""Errors of Python's own where a function took numbers that differ between ranks for one number.

Functions in C look at their arguments' types, and say "an integer is required" or "unsupported type:
SymInt". Where that leaves the lockstep world, it is told as what it is.
"""

from __future__ import annotations

import dis
import linecache
import sysconfig
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from polyrank.errors import DivergenceError, Error
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number

__all__ = ["explained"]

# What C code says of arguments; of the others TypeError alone, which says what no program should.
_OF_ARGUMENTS = (TypeError, ValueError, IndexError, AttributeError, OverflowError)
_LIBRARY = (sysconfig.get_path("stdlib"), "<frozen ")
_LOADS = frozenset(
    ("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE")
)


def explained(error: BaseException | None, trace: TracebackType | None) -> DivergenceError | None:
    """What to raise in the place of an error of Python's; None if it is the program's affair."""
    if not isinstance(error, _OF_ARGUMENTS) or isinstance(error, Error):
        return None
    at = _of_program(trace)
    if at is None or _raises(at):
        return None
    is_library = at.tb_next is not None
    if is_library and not isinstance(error, TypeError):
        return None
    numbers = dict(_numbers_on_line(at.tb_frame, at.tb_lineno))
    if not numbers:
        return None
    file = at.tb_frame.f_code.co_filename
    line = linecache.getline(file, at.tb_lineno).strip()
    given = ", ".join(f"{name} = {value}" for name, value in sorted(numbers.items()))
    return DivergenceError(
        f"{type(error).__name__}: {error}, at {file}:{at.tb_lineno} in `{line}`, where a number differs "
        f"between ranks: {given}. Python's functions take one number for all ranks. Use it in "
        "arithmetic, as a size or an index of a tensor, or in torch.tensor(…), which hold every "
        "rank's value; or run the program in the threads world (`polyrank run --world threads`)"
    )


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    """The innermost place that is not in Python's library."""
    found = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_LIBRARY) or _is_installed(trace):
            found = trace
        trace = trace.tb_next
    return found


def _is_installed(trace: TracebackType) -> bool:
    return "site-packages" in trace.tb_frame.f_code.co_filename


def _raises(trace: TracebackType) -> bool:
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _numbers_on_line(frame: FrameType, line: int) -> Iterator[tuple[str, Any]]:
    """Variables that the line reads and whose values differ between ranks."""
    places = {**frame.f_globals, **frame.f_locals}
    at = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            at = instruction.positions.lineno
        if at == line and instruction.opname in _LOADS:
            value = places.get(instruction.argval)
            if is_rank_dependent_number(value):
                yield instruction.argval, value
