"""Options from elsewhere than the command line: the environment, `polyrank.toml`, `pyproject.toml`.

A value is checked here, with one error that says where it came from, and becomes the option's default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

from polyrank.cli.option_kinds import Option, options_of

__all__ = ["SettingsFile", "defaults", "find_file"]

_PREFIX = "POLYRANK_"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class SettingsFile:
    """The nearest file that has options."""

    path: Path
    where: str  # the table that holds those of the commands: "" or "tool.polyrank"
    tables: Mapping[str, Any]  # by command

    def place(self, command: str) -> str:
        """Where the options of a command are, for an error: "pyproject.toml: [tool.polyrank.run]"."""
        table = ".".join(filter(None, [self.where, command]))
        return f"{self.path}: [{table}]" if table else str(self.path)


def find_file(folder: Path) -> SettingsFile | None:
    """`polyrank.toml`, or `pyproject.toml` with a [tool.polyrank], in `folder` or the nearest above it.

    Raises:
        typer.BadParameter: it can't be read, or is no TOML.
    """
    for parent in (folder, *folder.parents):
        own, projects = parent / "polyrank.toml", parent / "pyproject.toml"
        if own.is_file():
            return SettingsFile(own, "", _read(own))
        if projects.is_file():
            tool = _read(projects).get("tool", {})
            if isinstance(tool, dict) and "polyrank" in tool:
                return SettingsFile(projects, "tool.polyrank", _table(tool["polyrank"], projects))
    return None


def defaults(
    app: typer.Typer, command: str, file: SettingsFile | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What the options of a command, or of those of a group of commands, are unless typed.

    In the form of click's `default_map`: by command, then by parameter.

    Raises:
        typer.BadParameter: a name is unknown, or a value is not of the option's type.
    """
    tables = {} if file is None else file.tables
    commands = _commands(app)
    if file is not None:
        _refuse_unknown(tables, commands, file.place(""), "command")
    if command not in commands:
        return {}
    found = _of_command(commands[command], command, file, tables.get(command, {}), environment)
    _refuse_unknown_variables(commands[command], command, environment)
    return {command: found}


def _commands(app: typer.Typer) -> dict[str, Any]:
    """Commands as functions, groups of them as Typer objects, by name."""
    found: dict[str, Any] = {}
    for one in app.registered_commands:
        if one.callback is not None:
            found[one.name or one.callback.__name__.replace("_", "-")] = one.callback
    for group in app.registered_groups:
        found[str(group.name)] = group.typer_instance
    return found


def _of_command(
    command: Any,
    name: str,
    file: SettingsFile | None,
    table: Any,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    where = "" if file is None else file.place(name)
    if not isinstance(table, dict):
        _refuse(where, "it must be a table of options")
    if isinstance(command, typer.Typer):
        commands = _commands(command)
        _refuse_unknown(table, commands, where, "command")
        return {
            inner: _of_command(
                commands[inner], f"{name}.{inner}", file, table.get(inner, {}), environment
            )
            for inner in commands
        }
    options = options_of(command)
    keys = {key.replace("_", "-"): value for key, value in table.items()}
    _refuse_unknown(keys, options, where, "option")
    found = {}
    for option in options.values():
        if option.name in keys:
            folder = Path() if file is None else file.path.parent
            place = f"{where} {option.name}"
            found[option.parameter] = _from_toml(option, keys[option.name], place, folder)
        variable = _variable(name, option)
        if environment.get(variable, ""):
            found[option.parameter] = _from_text(option, environment[variable], variable)
    return found


def _variable(command: str, option: Option) -> str:
    return _PREFIX + f"{command}_{option.name}".upper().replace(".", "_").replace("-", "_")


def _variables(command: Any, name: str) -> list[str]:
    if isinstance(command, typer.Typer):
        inner = _commands(command)
        return [variable for one in inner for variable in _variables(inner[one], f"{name}.{one}")]
    return [_variable(name, option) for option in options_of(command).values()]


def _refuse_unknown_variables(command: Any, name: str, environment: Mapping[str, str]) -> None:
    prefix = _PREFIX + name.upper() + "_"
    known = _variables(command, name)
    for variable in environment:
        if variable.startswith(prefix) and variable not in known:
            _refuse(variable, f"there is no such option{_meant(variable, known)}")


def _from_toml(option: Option, value: Any, where: str, folder: Path) -> Any:
    wanted = (int, float) if option.kind is float else option.kind
    values = value if option.is_list else [value]
    if not isinstance(values, list):
        _refuse(where, f"{value!r} is no list; it must be a list of texts")
    for one in values:
        if not isinstance(one, wanted) or (isinstance(one, bool) and option.kind is not bool):
            _refuse(where, f"{one!r} is not {_WORDS[option.kind]}{_in_list(option)}")
        _check(option, one, where)
    if option.is_path:
        values = [str(folder / one) for one in values]
    return values if option.is_list else values[0]


def _from_text(option: Option, text: str, where: str) -> Any:
    values = [_value(option, one, where) for one in (text.split() if option.is_list else [text])]
    for one in values:
        _check(option, one, where)
    return values if option.is_list else values[0]


def _value(option: Option, text: str, where: str) -> Any:
    if option.kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            _refuse(where, f"{text!r} is not one of {', '.join((*_TRUE, *_FALSE))}")
        return text.lower() in _TRUE
    try:
        return option.kind(text)
    except ValueError:
        _refuse(where, f"{text!r} is not {_WORDS[option.kind]}")


def _check(option: Option, value: Any, where: str) -> None:
    if (why := option.why_refused(value)) is not None:
        _refuse(where, why)


def _in_list(option: Option) -> str:
    return "; it must be a list of texts" if option.is_list else ""


def _refuse_unknown(
    table: Mapping[str, Any], known: Mapping[str, Any], where: str, noun: str
) -> None:
    for key in table:
        if key not in known:
            _refuse(where, f"there is no {noun} {key!r}{_meant(key, known)}")


def _meant(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def _refuse(where: str, why: str) -> NoReturn:
    raise typer.BadParameter(why, param_hint=where)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _refuse(str(path), f"it can't be read: {error}")


def _table(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{path}: tool.polyrank", "it must be a table of commands, as [tool.polyrank.run]")
    return value
