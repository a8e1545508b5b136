"""Methods of torch.SymInt and its kin, and of what writes numbers, for those that differ between ranks."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from polyrank.errors import DivergenceError
from polyrank.numbers.number_text import number_text
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number
from polyrank.rank_text.taken_for_one import showing
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


def _format(original: Callable[[Any, str], str], number: Any, spec: str) -> str:
    if not is_rank_dependent_number(number):
        return original(number, spec)
    if not spec:
        return str(number)
    name = str(number).partition("(")[0]
    return number_text(name, number.node._local_ints, lambda value: format(value, spec))


def _hash(original: Callable[[Any], int], number: Any) -> int:
    if not is_rank_dependent_number(number):
        return original(number)
    raise DivergenceError(
        f"a number that differs between ranks, {number}, was taken as a key of a dict, a set or a cache. "
        "One program runs for all ranks, which would take different entries. Keep what differs in a "
        "tensor (`table[rank]` of a tensor of one row a rank, or polyrank.rank_map), or run the program "
        "in the threads world (`polyrank run --world threads`)."
    )


_NUMBER_SPEC = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[diouxXeEfFgG]")


def _log_message(original: Callable[[Any], str], record: Any) -> str:
    """A message of `logging` whose text has %d for a number that differs."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    if not any(is_rank_dependent_number(value) for value in arguments):
        return original(record)
    return _NUMBER_SPEC.sub("%s", str(record.msg)) % arguments


def _to_json(original: Callable[..., Any], encoder: json.JSONEncoder, value: Any) -> Any:
    if is_rank_dependent_number(value):
        raise DivergenceError(
            f"JSON has no form for a number that differs between ranks, {value}. Write its text, "
            'f"{value}", which shows all ranks\' values, keep it in a tensor, or run the program in '
            "the threads world (`polyrank run --world threads`)."
        )
    return original(encoder, value)


def _wrap_warn(original: Callable[..., None]) -> Callable[..., None]:
    """`warnings.warn`, which keeps a warning's text as a key."""

    @functools.wraps(original)
    def warn(
        message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **more: Any
    ) -> None:
        with showing():
            original(message, category, stacklevel + 1, source, **more)

    return warn


_NUMBERS = ("torch:SymInt", "torch:SymFloat", "torch:SymBool")
_TEXT = "writes numbers that differ as if each rank had that text"

ROWS = (
    *(Row(owner, "__format__", with_original(_format), _TEXT, is_added=True) for owner in _NUMBERS),
    *(
        Row(owner, "__hash__", with_original(_hash), "takes one rank's number as the key")
        for owner in _NUMBERS
    ),
    Row("warnings", "warn", _wrap_warn, "keeps text that differs as a key"),
    Row("logging:LogRecord", "getMessage", with_original(_log_message), "takes one rank's number"),
    Row("json:JSONEncoder", "default", with_original(_to_json), "does not say what differs"),
)
