"""Variables of the environment that each rank has its own of, as text of all ranks.

`int(os.environ["RANK"])` is a number that differs between ranks, at any world size: who reads one of these
texts knows its number, whose values are too many for a text of many ranks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["is_variable", "known_variables", "number_of_variable", "text_of_variable"]

# Each text and its number, while a run is on that has such variables. Found by comparing: a text that was hashed
# keeps its hash, and dicts and sets then look it up without asking whether it may be a key.
_known: list[tuple[str, Any]] = []


def text_of_variable(name: str, number: Any) -> str:
    """What a variable holds: the number's text, with the variable's name in it if ranks differ."""
    text = str(number)
    return f"{text[:-1]}, {name})" if text.endswith(")") else text


@contextlib.contextmanager
def known_variables(numbers: Mapping[str, Any]) -> Iterator[None]:
    """A block in which the texts of these variables are known.

    Args:
        numbers: By the variable's name.
    """
    _known.extend((text_of_variable(name, number), number) for name, number in numbers.items())
    try:
        yield
    finally:
        _known.clear()


def is_variable(text: str | bytes) -> bool:
    """Whether the text is just what one of these variables holds."""
    return bool(_known) and _number_of(os.fsdecode(text)) is not None


def number_of_variable(text: str) -> Any:
    """The number that a variable's text stands for; None if the text is no variable's."""
    return _number_of(text.strip()) if _known else None


def _number_of(text: str) -> Any:
    return next((number for known, number in _known if known == text), None)
