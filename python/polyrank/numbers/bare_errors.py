"""Errors of Python's own where a function took numbers that differ between ranks for one number.

Functions in C look at their arguments' types, and say "an integer is required" or "unsupported type:
SymInt". PyTorch's derivatives compare a Scalar with plain numbers, which of a SymInt is an assertion that fails.
Where that leaves the lockstep world, it is told as what it is.
"""

from __future__ import annotations

import dis
import linecache
import sysconfig
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from polyrank.errors import DivergenceError, Error
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number

__all__ = ["explained"]

_OF_SCALARS = "NYI SymInt equality"  # of c10/core/Scalar.h
# What C code says of arguments; of the others TypeError alone, which says what no program should.
_OF_ARGUMENTS = (TypeError, ValueError, IndexError, AttributeError, OverflowError)
_LIBRARY = (sysconfig.get_path("stdlib"), "<frozen ")
# What reads a variable; Pythons differ in how many ways they have.
_LOADS = frozenset(
    name
    for name in (
        *(dis.opname[opcode] for opcode in (*dis.haslocal, *dis.hasfree)),
        *("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"),
    )
    if name.startswith("LOAD")
)


def explained(error: BaseException | None, trace: TracebackType | None) -> DivergenceError | None:
    """What to raise in the place of an error of Python's; None if it is the program's affair."""
    if isinstance(error, RuntimeError) and _OF_SCALARS in str(error):
        return _explained_derivative(trace)
    if not isinstance(error, _OF_ARGUMENTS) or isinstance(error, Error):
        return None
    at = _of_program(trace)
    if at is None or _raises(at):
        return None
    is_library = at.tb_next is not None
    if is_library and not isinstance(error, TypeError):
        return None
    numbers = dict(_numbers_read(at))
    if not numbers:
        return None
    file = at.tb_frame.f_code.co_filename
    line = linecache.getline(file, at.tb_lineno).strip()
    given = ", ".join(f"{name} = {value}" for name, value in sorted(numbers.items()))
    return DivergenceError(
        f"{type(error).__name__}: {error}, at {file}:{at.tb_lineno} in `{line}`, where a number differs "
        f"between ranks: {given}. Functions written in C take one number for all ranks. Use it in "
        "arithmetic, as a size or an index of a tensor, or in torch.tensor(…), which hold every "
        "rank's value; or run the program in the threads world (`polyrank run --world threads`)"
    )


def _explained_derivative(trace: TracebackType | None) -> DivergenceError:
    """What to raise where a derivative's formula compares a number that differs, as that of `pow` does."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    outputs = () if trace is None else trace.tb_frame.f_locals.get("t_outputs", ())
    nodes = _nodes_behind(outputs)
    found = sorted({text for node in nodes for text in _numbers_saved(node)})
    if not found:  # lists of numbers can't be read
        names = sorted({node.name() for node in nodes})
        found = [f"one of {', '.join(names)}"] if names else ["a number that is not known"]
    return DivergenceError(
        "the derivative of an operator compares its number with others, and the number differs between ranks: "
        f"{', '.join(found)}. Give the operator a tensor "
        "(`x.pow(torch.tensor(rank + 1))`), or run the program in the threads world (`polyrank run --world threads`)"
    )


def _nodes_behind(outputs: Iterable[Any]) -> list[Any]:
    """The nodes of the graph of derivatives."""
    waiting = [getattr(output, "grad_fn", None) for output in outputs]
    nodes: dict[Any, None] = {}
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes[node] = None
            waiting += [before for before, _ in node.next_functions]
    return list(nodes)


def _numbers_saved(node: Any) -> Iterator[str]:
    """Numbers of a node that differ: "PowBackward0 (exponent: …)"."""
    for name in dir(node):
        if name.startswith("_saved_") and (differing := _differing(node, name)) is not None:
            yield f"{node.name()} ({name.removeprefix('_saved_')}: {differing})"


def _differing(node: Any, name: str) -> str | None:
    """A saved number that differs; None for one that does not, and for tensors."""
    try:
        value = getattr(node, name)
    except DivergenceError as error:  # it takes one number for all ranks
        error.is_heard = True
        return str(error).partition(". ")[0]
    except RuntimeError:  # a tensor that is no longer there
        return None
    return str(value) if is_rank_dependent_number(value) else None


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


def _numbers_read(trace: TracebackType) -> Iterator[tuple[str, Any]]:
    """Variables that the failing call's lines read and whose values, or one of them in a list, differ between ranks."""
    frame = trace.tb_frame
    places = {**frame.f_globals, **frame.f_locals}
    code = list(frame.f_code.co_positions())
    first, last, _, _ = code[trace.tb_lasti // 2]
    lines = range(first or trace.tb_lineno, (last or first or trace.tb_lineno) + 1)
    at = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            at = instruction.positions.lineno
        if at in lines and instruction.opname in _LOADS:
            value = places.get(instruction.argval)
            entries = value if isinstance(value, list | tuple) else (value,)
            if any(map(is_rank_dependent_number, entries)):
                yield instruction.argval, value
