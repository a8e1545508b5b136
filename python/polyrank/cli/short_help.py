"""Commands whose help is a page to read, and with --help-all a page to look things up in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

__all__ = ["HelpAll", "ShortHelpCommand"]

_IS_LONG = "polyrank.long_help"  # in a context's meta


class ShortHelpCommand(TyperCommand):
    """Shows the options that stand in no panel of their own; with --help-all the others and the epilog, too."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the short page, whose last line says what is left out, or the long one."""
        if ctx.meta.get(_IS_LONG):
            super().format_help(ctx, formatter)
            return
        panels = {one: name for one in self.params if (name := _panel(one)) is not None}
        epilog = self.epilog
        names = ", ".join(dict.fromkeys(panel.lower() for panel in panels.values()))
        self.epilog = f"With --help-all: {names}; exit codes."
        _hide(panels, is_hidden=True)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
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


def _panel(parameter: Any) -> str | None:
    return None if parameter.hidden else parameter.rich_help_panel


def _hide(parameters: Iterable[Any], *, is_hidden: bool) -> None:
    for one in parameters:
        one.hidden = is_hidden
