"""Options that several commands have, in one wording."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from polyrank.output.written_whole import writable_target
from polyrank.world_size import MAX_RANKS

__all__ = [
    "WRITTEN",
    "Arguments",
    "ClusterName",
    "Count",
    "HtmlReport",
    "IsModule",
    "JsonReport",
    "Nodes",
    "RanksANode",
    "Script",
    "WorldSize",
    "check_script",
    "count_option",
    "page_option",
    "world_size_option",
    "writable_option",
]


def count_option(value: str | int) -> int:
    """A number of ranks or nodes, as typed or an option's default."""
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_RANKS:
        raise typer.BadParameter(f"{text!r} is no number from 1 to {MAX_RANKS:,}")
    return int(text)


# As mpirun says it, too.
_SIZE = typer.Option("--ranks", "-n", parser=count_option, metavar="N", help="The world size.")

Script = Annotated[str, typer.Argument(help="The script, or with -m a module's name.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="What the script gets.")]
Count = Annotated[int | None, _SIZE]
RanksANode = Annotated[
    int | None,
    typer.Option(parser=count_option, metavar="N", help="Ranks a node, as in torchrun."),
]
Nodes = Annotated[
    int,
    typer.Option(
        parser=count_option,
        metavar="N",
        help="Nodes, as in torchrun; usually 1.",
        show_default=False,
    ),
]
IsModule = Annotated[
    bool, typer.Option("-m", "--module", help="SCRIPT is a module, as in `python -m`.")
]
# A panel of the help.
WRITTEN = "Output"
JsonReport = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the report there, as JSON.", rich_help_panel=WRITTEN
    ),
]
HtmlReport = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write the report there, as a page that needs no network.",
        rich_help_panel=WRITTEN,
    ),
]

# Of forecasts.
ClusterName = Annotated[
    str,
    typer.Option(metavar="NAME", help="One of `polyrank clusters`, or a file."),
]
WorldSize = Annotated[int, _SIZE]


def check_script(script: str) -> None:
    """Refuse a script that is not there, and name one beside it that may be meant."""
    path = Path(script)
    if path.is_file():
        return
    names = [one.name for one in path.parent.glob("*.py")]
    close = difflib.get_close_matches(path.name, names, 1)
    meant = f"; did you mean {str(path.with_name(close[0]))!r}?" if close else ""
    raise typer.BadParameter(f"there is no script {script!r}{meant}", param_hint="SCRIPT")


def writable_option(file: Path, option: str) -> Path:
    """The absolute path of a file that can be written."""
    try:
        return writable_target(file)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(file)!r} can't be written: {error.strerror or error}", param_hint=option
        ) from error


def page_option(file: Path) -> Path:
    """The same of an HTML page."""
    from polyrank.errors import UsageError
    from polyrank.output.html_page import check_page_can_be_written

    try:
        check_page_can_be_written()
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--html") from error
    return writable_option(file, "--html")


def world_size_option(ranks: int | None, nproc_per_node: int | None, nnodes: int) -> int:
    """The number of ranks that these options say."""
    if nproc_per_node is not None:
        world_size = nproc_per_node * nnodes
        if ranks not in (None, world_size):
            raise typer.BadParameter(
                f"{nproc_per_node} ranks on each of {nnodes} nodes are {world_size} ranks, "
                f"not {ranks}",
                param_hint="--ranks",
            )
        if world_size > MAX_RANKS:
            raise typer.BadParameter(
                f"{nproc_per_node} ranks on each of {nnodes} nodes are more than {MAX_RANKS:,}",
                param_hint="--nnodes",
            )
        return world_size
    if ranks is None:
        raise typer.BadParameter(
            "say how many ranks there are: --ranks N, or --nproc-per-node N [--nnodes M]",
            param_hint="--ranks",
        )
    if ranks % nnodes:
        raise typer.BadParameter(
            f"{ranks} ranks do not spread evenly over {nnodes} nodes", param_hint="--nnodes"
        )
    return ranks
