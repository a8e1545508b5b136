"""The command `polyrank`, to which the modules beside this one add theirs."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

# Modules that add commands to `app`, in the order of the help.
_COMMANDS = (
    "run_command",
    "serve",
    "report_command",
    "check",
    "check_logs",
    "forecast",
    "sweep",
    "calibrate",
    "doctor",
)

# Of all that is wrong with arguments; typer has no public name for it. Typer itself would draw a box around what
# it says, which takes as long as all else, and breaks lines that one may want to copy.
_CLICK_ERROR: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Options with underscores too, as torchrun's.
        "token_normalize_func": lambda text: text.replace("_", "-"),
    },
    help="Runs an N-rank distributed PyTorch program on one machine.",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from polyrank.version import __version__

        typer.echo(f"polyrank {__version__}")
        raise typer.Exit


@app.callback()
def polyrank(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Take options from elsewhere than the command line, before a command reads its own."""
    from polyrank.cli.settings import defaults, find_file

    if context.invoked_subcommand is not None:
        file = find_file(Path.cwd())
        context.default_map = defaults(app, context.invoked_subcommand, file, os.environ)


def main() -> None:
    """Read the arguments of this process, and do what they say."""
    load_commands()
    sys.exit(_exit_code())


def load_commands() -> None:
    """Let each command add itself to `app`."""
    for module in _COMMANDS:
        importlib.import_module(f"polyrank.cli.{module}")


def _exit_code() -> int | None:
    try:
        # Not `app()`, which puts an excepthook of typer's into this process, where the program's ranks find it.
        code = typer.main.get_command(app)(standalone_mode=False)
    except _CLICK_ERROR as error:
        if error.format_message():  # empty: the help was printed
            error.show()
            if sys.argv[1:] and Path(sys.argv[1]).is_file():
                typer.echo(f"A script is run by: polyrank run --ranks N {sys.argv[1]}", err=True)
        return int(error.exit_code)
    except typer.Abort:
        typer.echo("Aborted.", err=True)
        return 1
    return None if code is None else int(code)
