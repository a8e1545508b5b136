"""Text with numbers that differ between ranks, where a program takes it for the text of one rank.

As a key, in a comparison and in a search it is refused where ranks would not agree. What takes it apart
(a method of `str`, a regular expression, `len`, an index) is run on each rank's text, and on the text
that has all ranks' values: it gives the latter's result if that stands for what it gives on each rank,
the one result of all ranks if they agree, and is refused otherwise. `int` and `float` of it are numbers
that differ, and text that is laid out (`ljust`) is each rank's.
"""

from __future__ import annotations

import codecs
import csv
import functools
import operator
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import torch

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.errors_by_rank import ErrorsByRank
from polyrank.numbers.rank_dependent_numbers import number_of_ranks
from polyrank.rank_text.marked import MarkedText, is_rank_dependent_text, text_of_ranks
from polyrank.rank_text.variables import number_of_variable
from polyrank.replacing.code_of import IN_TORCH, is_of_library, is_of_python

__all__ = ["is_watched", "prepare_guards", "showing", "take_apart"]

# Modules, parameters and buffers are named by the program.
_KEEPING_NAMES = f"{IN_TORCH}nn/"
# Of Python's library, what shows text to people, keeps names for itself, or finds its way by what text
# of a number has not in it ("/"). All the rest does its callers' work.
_SHOWING = frozenset(
    (
        *("bdb", "code", "codeop", "dataclasses", "dis", "doctest", "genericpath", "importlib"),
        *("inspect", "linecache", "logging", "os", "pdb", "posixpath", "pprint", "reprlib"),
        *("textwrap", "threading", "tokenize", "traceback", "unittest", "warnings"),
    )
)
# Keeps the parts of a path as Python keeps names; what it does with them is guarded.
_INTERNING = frozenset(("parse_parts", "_parse_path"))
_showing = threading.local()  # .depth: the thread shows text that C code keeps as a key


def is_watched(frame: FrameType) -> bool:
    """Whether text is watched in that code: the program's, or a library's that knows PyTorch (a trainer).

    Python's library does its callers' work. Other libraries lay text out and show it, which takes all
    ranks' values.
    """
    if vars(_showing).get("depth"):
        return False
    asking: FrameType | None = frame
    while asking is not None and is_of_python(asking.f_code.co_filename):
        if asking.f_globals.get("__name__", "").partition(".")[0] in _SHOWING:
            return False
        asking = asking.f_back
    if asking is None or is_of_library(asking.f_code.co_filename):
        return False
    return "site-packages" not in asking.f_code.co_filename or "torch" in asking.f_globals


@contextmanager
def showing() -> Iterator[None]:
    """Within this context, text that is taken as a key is shown to people."""
    _showing.depth = vars(_showing).get("depth", 0) + 1
    try:
        yield
    finally:
        _showing.depth -= 1


def _refuse(text: str, what: str) -> NoReturn:
    raise DivergenceError(
        f"text that has a number in it that differs between ranks, {text}, {what}. One program runs for "
        "all ranks, and each would have another text. Use the number itself (in arithmetic, as a size or "
        "an index of a tensor), polyrank.PerRank for each rank's object, or run the program in the "
        "threads world (`polyrank run --world threads`)."
    )


# By Python's Py_LT, Py_LE, …; last, a search.
_HOW: tuple[Callable[[str, str], bool], ...] = (
    *(operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge),
    operator.contains,
)


def _refuse_as_one(text: str, other: str | None, how: int) -> None:
    """Refuse text where the program takes it as a key, or compares it.

    Args:
        text: What has the marker of such a number in it, or is compared with what has.
        other: What it is compared with, or searched for; None where it is hashed.
        how: How it is compared, by Python's Py_LT, Py_LE, …; -1: it is searched.

    Raises:
        DivergenceError: ranks would not agree.
    """
    frame = sys._getframe(1)
    if other is None:
        is_name = frame.f_code.co_filename.startswith(_KEEPING_NAMES)
        if frame.f_code.co_name in _INTERNING and is_of_python(frame.f_code.co_filename):
            return
        if (is_name or is_watched(frame)) and is_rank_dependent_text(text):
            _refuse(text, "was taken as a key")
        return
    if not is_watched(frame):
        return
    is_own, is_other = map(is_rank_dependent_text, (text, other))
    if not (is_own or is_other) or text == other:  # which is so on each rank
        return
    holds = _HOW[how]
    own, others = MarkedText(text), MarkedText(other)
    ranks = own.first_ranks | others.first_ranks
    of_ranks = {holds(own.on_rank(rank), others.on_rank(rank)) for rank in ranks}
    if of_ranks != {holds(text, other)}:
        _refuse(text if is_own else other, "was searched" if how < 0 else "was compared")


# --- Taken apart --------------------------------------------------------------------------------

# `upper`, `format`, `join` give text that has the numbers in it as before.
_TEXT_METHODS = (
    *("count", "encode", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal"),
    *("isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle"),
    *("isupper", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind"),
    *("rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip"),
    "translate",
)
# These count letters: what each rank has is of one width.
_LAYING_OUT = ("__format__", "center", "expandtabs", "ljust", "rjust", "zfill")
_PATTERN_METHODS = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn")


def _on_rank(value: Any, rank: int) -> Any:
    """What one rank has of it: an argument, or a result, in a form that can be compared."""
    if isinstance(value, str):
        return MarkedText(value).on_rank(rank)
    if type(value) in {list, tuple}:
        return type(value)(_on_rank(item, rank) for item in value)
    if isinstance(value, re.Match):
        return value.regs, _on_rank(value.groups(), rank)
    return value


def _texts_in(value: Any) -> list[str]:
    """Texts among arguments that differ between ranks."""
    if isinstance(value, str):
        return [value] if is_rank_dependent_text(value) else []
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts_in(item)]
    return []


def _outcome(function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    """What a call gives, an iterator's items as a list, or the error that it raises."""
    try:
        result = function(*args, **options)
        return list(result) if isinstance(result, Iterator) else result
    except (ValueError, LookupError, TypeError) as error:
        return error


def _comparable(outcome: Any, rank: int) -> Any:
    if isinstance(outcome, Exception):
        return type(outcome)
    try:
        return _on_rank(outcome, rank)
    except DivergenceError:
        return DivergenceError  # what shows a number was taken apart


# For numbers, where text is taken apart: digits that hardly any text has.
_DIGITS = "".join(chr(0x1E950 + i) for i in range(10))


def _replaced(value: Any, by: dict[str, str]) -> Any:
    """The same with parts of its text replaced."""
    if isinstance(value, str):
        for old, new in by.items():
            value = value.replace(old, new)
    elif type(value) in {list, tuple}:
        value = type(value)(_replaced(item, by) for item in value)
    return value


def _with_digits(args: Any) -> tuple[Any, dict[str, str]]:
    """The arguments with a digit in the place of each number, and what each digit stands for."""
    markers = dict.fromkeys(
        marker for text in _texts_in(args) for marker in MarkedText(text).markers
    )
    digits = dict(zip(markers, _DIGITS, strict=False))
    if len(markers) > len(_DIGITS):
        return args, {}
    return _replaced(args, digits), {digit: marker for marker, digit in digits.items()}


def take_apart(
    function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any] | None
) -> Any:
    """What a function that takes text gives on all ranks.

    Raises:
        DivergenceError: ranks would not agree.
    """
    options = options or {}
    texts = _texts_in(args)
    frame = sys._getframe(1)
    if not texts or not (is_watched(frame) or frame.f_code.co_filename == random.__file__):
        return function(*args, **options)
    if function.__name__ == "sort":
        args[0][:] = _on_all_ranks(sorted, args, options, texts)
        return None
    if function.__name__ in _LAYING_OUT:
        return _lay_out(function, args, options, texts)
    if function is int or function is float:
        return _as_number(function, args, options, texts[0])
    return _on_all_ranks(function, args, options, texts)


def _as_number(
    kind: Callable[..., int | float], args: tuple[Any, ...], options: dict[str, Any], text: str
) -> Any:
    """The number that text names on each rank."""
    known = number_of_variable(text) if len(args) == 1 and args[0] is text else None
    if known is not None:
        return known if kind is int else torch.sym_float(known)  # type: ignore[no-untyped-call]
    errors = ErrorsByRank(f"{kind.__name__} of {text}")
    numbers = {}
    for rank in MarkedText(text).ranks:
        with errors.of([rank]):
            numbers[rank] = kind(*_on_rank(args, rank), **options)
    errors.rethrow()
    return number_of_ranks(numbers)


def _lay_out(
    function: Callable[..., str], args: tuple[Any, ...], options: dict[str, Any], texts: list[str]
) -> str:
    try:
        last_rank = MarkedText(texts[0]).last_rank
        given, stands_for = _with_digits(args)
        ranks = sorted({rank for text in texts for rank in MarkedText(text).first_ranks})
    except DivergenceError:  # too many to be known: it is shown, and refused where it is asked
        return function(*args, **options)
    of_all: str = _replaced(function(*given, **options), stands_for)
    of_ranks = {rank: function(*_on_rank(args, rank), **options) for rank in ranks}
    if all(_comparable(of_all, rank) == text for rank, text in of_ranks.items()):
        return of_all
    whole = text_of_ranks(of_ranks, last_rank)
    if whole is None:
        _refuse(texts[0], f"was laid out by `{function.__name__}`, with another width on each")
    return whole


def _on_all_ranks(
    function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], texts: list[str]
) -> Any:
    if function.__name__ == "encode":  # for seeds, checks and hashes
        _refuse(texts[0], "was encoded")
    if any(callable(value) for value in (*args, *options.values())):
        _refuse(texts[0], f"was handed to `{function.__name__}` with a function")
    ranks = sorted({rank for text in texts for rank in MarkedText(text).first_ranks})
    of_ranks = [_outcome(function, _on_rank(args, rank), options) for rank in ranks]
    seen = [_comparable(outcome, rank) for outcome, rank in zip(of_ranks, ranks, strict=True)]
    for given, stands_for in (_with_digits(args), (args, {})):
        of_all = _replaced(_outcome(function, given, options), stands_for)
        if [_comparable(of_all, rank) for rank in ranks] == seen:
            result = function(*given, **options)
            return iter(of_all) if isinstance(result, Iterator) else _replaced(result, stands_for)
    if all(one == seen[0] for one in seen):
        return function(*_on_rank(args, ranks[0]), **options)
    _refuse(texts[0], f"was taken apart by `{function.__name__}`")


@functools.cache
def prepare_guards() -> None:
    """Name what guards text. It is guarded between `_C.guard_text()` and `_C.unguard_text()`."""
    methods = [getattr(str, name) for name in (*_TEXT_METHODS, *_LAYING_OUT)]
    methods += [getattr(re.Pattern, name) for name in _PATTERN_METHODS]
    methods.append(codecs.encode)
    naming = [getattr, hasattr, setattr, delattr]
    of_lists = [sorted, list.sort, csv.reader]
    _C.set_text_guards(_refuse_as_one, take_apart, methods, naming, of_lists)
