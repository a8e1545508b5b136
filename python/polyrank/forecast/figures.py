"""Figures with their sources, as TOML files have them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank.errors import UsageError

__all__ = ["Figure", "FigureReader", "read_toml"]


@dataclass(frozen=True)
class Figure:
    """A number, and where it is from."""

    value: float
    source: str


def read_toml(file: Path) -> dict[str, Any]:
    """What the file holds.

    Raises:
        UsageError: it is no TOML.
    """
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {error}") from error


class FigureReader:
    """Reads the fields of one table, and collects what is wrong with them."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._left = dict(content)
        self._wrong: list[str] = []

    def has(self, name: str) -> bool:
        """Whether there is such a field that was not read yet."""
        return name in self._left

    def note(self, what: str) -> None:
        """Say that something is wrong."""
        self._wrong.append(what)

    def take(self, name: str, kind: type, what: str) -> Any:
        """The field's value, which must be of that type; None if it is wrong."""
        if name not in self._left:
            self.note(f"{name} is missing")
            return None
        value = self._left.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.note(f"{name} must be {what}, and is {value!r}")
            return None
        return value

    def count(self, name: str) -> int | None:
        """A positive whole number."""
        value = self.take(name, int, "a whole number")
        if value is not None and value < 1:
            self.note(f"{name} must be positive, and is {value}")
        return None if value is None else int(value)

    def sourced(self, name: str) -> tuple[Any, str] | None:
        """A value of any kind, with its source."""
        table = self.take(name, dict, "a table { value = …, source = … }")
        if table is None:
            return None
        value, source = table.get("value"), table.get("source")
        if set(table) != {"value", "source"} or not isinstance(source, str) or not source:
            self.note(f"{name} must have a value and a source, and nothing else")
            return None
        return value, source

    def figure(
        self, name: str, *, unit: str = "", is_positive: bool = False, is_whole: bool = False
    ) -> Figure | None:
        """A number that is not negative, or positive, with its source."""
        both = self.sourced(name)
        if both is None:
            return None
        value, source = both
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_fit = is_number and math.isfinite(value) and not (is_whole and value != int(value))
        if not is_fit or value < 0 or (is_positive and value == 0):
            kind = f"a{' positive' if is_positive else ''}{' whole' if is_whole else ''} number"
            least = "" if is_positive else ", 0 or more"
            self.note(
                f"{name}.value must be {kind}{unit and ' of '}{unit}{least}, and is {value!r}"
            )
            return None
        return Figure(float(value), source)

    def figures(
        self, names: Iterable[str], *, is_positive: bool = True, is_whole: bool = False
    ) -> dict[str, Figure]:
        """Those of these names; what is wrong is left out, and noted."""
        found = {
            name: self.figure(name, is_positive=is_positive, is_whole=is_whole) for name in names
        }
        return {name: figure for name, figure in found.items() if figure is not None}

    def problems(self, of_what: str) -> list[str]:
        """What is wrong, fields that nobody took included."""
        return self._wrong + [f"{name} is no field of {of_what}" for name in self._left]
