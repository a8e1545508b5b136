"""What the options of a command take, read from the signature that typer reads."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union

import typer
from typer.models import OptionInfo

__all__ = ["Option", "not_one_of", "options_of"]


@dataclass(frozen=True)
class Option:
    """One option."""

    name: str  # as typed, without dashes in front: "log-dir"
    parameter: str  # of the function
    kind: type  # bool, int, float or str
    is_list: bool
    is_path: bool
    choices: tuple[str, ...]  # none: any
    info: OptionInfo

    def why_refused(self, value: Any) -> str | None:
        """Why a value of its kind is none that it takes; None: it takes it."""
        if self.choices and value not in self.choices:
            return not_one_of(str(value), self.choices)
        if self.info.parser is not None:
            try:
                self.info.parser(str(value))
            except typer.BadParameter as error:
                return error.message
        if self.info.min is not None and value < self.info.min:
            return f"{value!r} is less than {self.info.min}"
        if self.info.max is not None and value > self.info.max:
            return f"{value!r} is more than {self.info.max}"
        return None


def not_one_of(text: str, choices: Sequence[str]) -> str:
    """What is wrong with `text`, and what may be meant."""
    close = difflib.get_close_matches(text, choices, 1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{text!r} is not one of {', '.join(choices)}{meant}"


def options_of(command: Callable[..., Any]) -> dict[str, Option]:
    """Those of a command's function, by name; its arguments are none."""
    hints = typing.get_type_hints(command, include_extras=True)
    found = {}
    for parameter in inspect.signature(command).parameters:
        annotation = hints[parameter]
        infos = [
            one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, OptionInfo)
        ]
        # Eager ones are no settings: they print something and end.
        if infos and not infos[0].is_eager:
            option = _option(parameter, typing.get_args(annotation)[0], infos[0])
            found[option.name] = option
    return found


def _option(parameter: str, annotation: Any, info: OptionInfo) -> Option:
    # In an annotation the first flag stands where a default would: typer.Option("--json", …).
    texts = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
    long = [text.partition("/")[0] for text in texts if text.startswith("--")]
    kind = _without_none(annotation)
    is_list = typing.get_origin(kind) is list
    if is_list:
        kind = typing.get_args(kind)[0]
    choices: tuple[str, ...] = ()
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = tuple(str(member.value) for member in kind)
    return Option(
        name=(long[0].removeprefix("--") if long else parameter).replace("_", "-"),
        parameter=parameter,
        kind=kind if kind in (bool, int, float) else str,
        is_list=is_list,
        is_path=kind is Path,
        choices=choices,
        info=info,
    )


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (Union, UnionType):
        (kind,) = [one for one in typing.get_args(annotation) if one is not type(None)]
        return kind
    return annotation
