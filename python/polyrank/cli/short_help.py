"""Commands whose help is a page to read, and with --help-all a page to look things up in."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

__all__ = ["HelpAll", "ShortHelpCommand"]

_IS_LONG = "polyrank.long_help"  # in a context's meta


class ShortHelpCommand(TyperCommand):
    """Shows what it is for, examples, and the options that stand in no panel of their own.

    With --help-all the other options, paragraphs and the epilog, too.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the short page, whose last line says what is left out, or the long one."""
        if ctx.meta.get(_IS_LONG):
            super().format_help(ctx, formatter)
            return
        panels = {one: name for one in self.params if (name := _panel(one)) is not None}
        text, epilog = self.help, self.epilog
        self.help, is_whole = _short(text or "")
        groups = dict.fromkeys(panel.lower() for panel in panels.values())
        names = ", ".join([*([] if is_whole else ["what it does"]), *groups])
        self.epilog = f"With --help-all: {names}; exit codes."
        _hide(panels, is_hidden=True)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.help, self.epilog = text, epilog
            _hide(panels, is_hidden=False)


def _show_all(context: typer.Context, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        context.meta[_IS_LONG] = True
        typer.echo(context.get_help())
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option("--help-all", callback=_show_all, is_eager=True, help="Show all options."),
]


def _short(text: str) -> tuple[str, bool]:
    """The first sentence and the examples, and whether that is all."""
    summary, *others = inspect.cleandoc(text).split("\n\n")
    examples = [one for one in others if one.startswith("- ")]
    return "\n\n".join([summary, *examples]), len(examples) == len(others)


def _panel(parameter: Any) -> str | None:
    return None if parameter.hidden else parameter.rich_help_panel


def _hide(parameters: Iterable[Any], *, is_hidden: bool) -> None:
    for one in parameters:
        one.hidden = is_hidden
