"""What the options of a command take, as the settings and the help read them."""

import typing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from polyrank.cli.option_kinds import options_of


class Color(StrEnum):
    red = "red"
    green = "green"


def even(text: str) -> int:
    if int(text) % 2:
        raise typer.BadParameter(f"{text} is odd")
    return int(text)


def command(
    script: Annotated[str, typer.Argument()],
    plain_name: Annotated[int, typer.Option(min=1, max=5)] = 1,
    file: Annotated[typing.Optional[Path], typer.Option("--out", "-o")] = None,  # noqa: UP045
    log_dir: Annotated[Path | None, typer.Option("--log-dir", "--log_dir")] = None,
    names: Annotated[list[str] | None, typer.Option()] = None,
    color: Annotated[Color | None, typer.Option()] = None,
    half: Annotated[int | None, typer.Option(parser=even)] = None,
    on: Annotated[bool, typer.Option("--on/--off")] = True,
    ratio: Annotated[float, typer.Option()] = 0.5,
) -> None:
    """Nothing."""


def test_names_kinds_and_choices_are_those_of_the_signature() -> None:
    options = options_of(command)
    assert list(options) == [
        "plain-name",
        "out",
        "log-dir",
        "names",
        "color",
        "half",
        "on",
        "ratio",
    ]
    assert options["out"].parameter == "file"
    assert [options[name].kind for name in ("plain-name", "out", "on", "ratio")] == [
        int,
        str,
        bool,
        float,
    ]
    assert options["out"].is_path
    assert options["log-dir"].is_path
    assert options["names"].is_list
    assert not options["names"].is_path
    assert options["color"].choices == ("red", "green")


def test_what_is_refused_is_told() -> None:
    options = options_of(command)
    assert options["plain-name"].why_refused(0) == "0 is less than 1"
    assert options["plain-name"].why_refused(6) == "6 is more than 5"
    assert options["plain-name"].why_refused(5) is None
    assert (
        options["color"].why_refused("gren")
        == "'gren' is not one of red, green; did you mean green?"
    )
    assert options["half"].why_refused(3) == "3 is odd"
    assert options["half"].why_refused(4) is None
