"""Options that several commands have, in one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrank.world import MAX_RANKS

__all__ = [
    "Arguments",
    "ClusterName",
    "Count",
    "HtmlReport",
    "IsModule",
    "JsonReport",
    "Nodes",
    "OneRank",
    "RanksANode",
    "Script",
    "WorldSize",
    "count_option",
]


def count_option(value: str | int) -> int:
    """A number of ranks or nodes, as typed or an option's default."""
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_RANKS:
        raise typer.BadParameter(f"{text!r} is no number from 1 to {MAX_RANKS:,}")
    return int(text)


_SIZE = typer.Option(parser=count_option, metavar="N", help="The world size.")

Script = Annotated[str, typer.Argument(help="The script, or with -m a module's name.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="What the script gets.")]
Count = Annotated[int | None, _SIZE]
RanksANode = Annotated[
    int | None,
    typer.Option(
        "--nproc-per-node",
        "--nproc_per_node",
        parser=count_option,
        metavar="N",
        help="Ranks a node, as in torchrun.",
    ),
]
Nodes = Annotated[
    int, typer.Option(parser=count_option, metavar="N", help="Nodes, as in torchrun.")
]
IsModule = Annotated[
    bool, typer.Option("-m", "--module", help="SCRIPT is a module, as in `python -m`.")
]
JsonReport = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report there, as JSON.")
]
HtmlReport = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write the report there, as a page that needs no network."
    ),
]

# Of forecasts.
ClusterName = Annotated[
    str,
    typer.Option(metavar="NAME", help="A cluster of `polyrank clusters`, or a file of your own."),
]
WorldSize = Annotated[int, _SIZE]
OneRank = Annotated[int, typer.Option(min=0, metavar="R", help="The rank that runs.")]
