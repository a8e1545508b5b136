"""What of torch the rows stand on, compared with the torches that they were tried with."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch

from polyrank.replacing.known_parameters import KNOWN_PARAMETERS, KNOWN_TORCHES
from polyrank.replacing.python_function import parameters_and_arguments
from polyrank.replacing.row import Row

__all__ = ["NOT_THERE", "differences", "known_parameters", "parameters_of", "warn_of"]

NOT_THERE = object()  # in the place of a name that torch lacks


def parameters_of(theirs: Any) -> str:
    """The names of a function's parameters, as a definition has them; what else it is in brackets.

    Of a function that C code gives no signature: "(built-in)". A class has its constructor's after "(class)".
    """
    function = inspect.unwrap(theirs) if isinstance(theirs, FunctionType) else theirs
    while (inner := getattr(function, "__func__", None)) is not None:  # of pybind11's methods
        function = inner
    if isinstance(function, FunctionType):
        return parameters_and_arguments(function.__code__)[0]
    if isinstance(function, type):
        made_by = (parameters_of(getattr(function, name)) for name in ("__new__", "__init__"))
        return f"(class) {'; '.join(text for text in made_by if text != '(built-in)')}".strip()
    if isinstance(function, Callable):  # type: ignore[arg-type]
        # pybind11 writes it into the first line of the text.
        line = (function.__doc__ or "").strip().partition("\n")[0]
        is_signature = isinstance(function, BuiltinFunctionType) and "(" in line
        return line.partition("(")[2] if is_signature and ":" in line else "(built-in)"
    return f"({type(function).__name__})"


def known_parameters(row: Row) -> tuple[str, ...]:
    """The parameters that the name has in any of the torches that were tried."""
    known = KNOWN_PARAMETERS.get(str(row), ())
    return (known,) if isinstance(known, str) else known


def differences(rows: Iterable[tuple[Row, Any]]) -> list[str]:
    """What the installed torch has otherwise: rows with theirs, which is NOT_THERE where it lacks the name."""
    found = []
    for row, theirs in rows:
        if row.is_added or not row.is_of_torch:
            continue
        if theirs is NOT_THERE:
            if not row.is_optional:
                found.append(f"{row} is not there")
            continue
        known, present = known_parameters(row), parameters_of(theirs)
        if present not in known:
            found.append(f"{row} has other parameters: {_news(present, known)}")
    return found


def _news(present: str, known: Iterable[str]) -> str:
    """Which parameters are new and which are gone, beside those that are most alike."""
    pieces = _pieces(present)
    nearest = min(map(_pieces, known), key=lambda others: len({*others} ^ {*pieces}), default=[])
    news = [f"{piece!r} is new" for piece in pieces if piece not in nearest]
    news += [f"{piece!r} is gone" for piece in nearest if piece not in pieces]
    return ", ".join(news) or f"their order is {present!r}"


def _pieces(parameters: str) -> list[str]:
    """The parameters one by one, each with its type and default where C code says them, and what is returned."""
    pieces, depth = [""], 0
    for letter in parameters.removeprefix("(class) "):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0 or (depth == 0 and letter in ",;"):
            pieces.append("")
            depth = 0
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces if piece.strip()]


_said: set[str] = set()


def warn_of(found: list[str]) -> None:
    """Tell each difference once a process; and that torch is another version, if that is all."""
    version = torch.__version__.partition("+")[0]
    news = [difference for difference in found if difference not in _said]
    if not news and version in (*KNOWN_TORCHES, *_said):
        return
    _said.update((version, *news))
    text = "; ".join(news) or "all names that are replaced so far are there"
    warnings.warn(
        f"polyrank replaces names of torch {', '.join(KNOWN_TORCHES)}, and this is {version}: {text}",
        stacklevel=5,
    )
