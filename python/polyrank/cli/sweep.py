"""`polyrank sweep`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from polyrank import exit_codes
from polyrank.cli.app import app
from polyrank.cli.options import (
    WRITTEN,
    Arguments,
    ClusterName,
    IsModule,
    Script,
    WorldSize,
    page_option,
    writable_option,
)
from polyrank.cli.short_help import HelpAll, ShortHelpCommand

# A panel of the help.
_FORECASTS = "Each forecast"


@app.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def sweep(
    script: Script,
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=V,V,…",
            help="The script's option and values; repeatable: all combinations.",
        ),
    ],
    arguments: Arguments = None,
    cluster: ClusterName = "dgx-h100",
    ranks: WorldSize = 1,
    rank: Annotated[
        int,
        typer.Option(min=0, metavar="R", help="The rank that runs.", rich_help_panel=_FORECASTS),
    ] = 0,
    steps: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Optimizer steps; times are of the last.",
            rich_help_panel=_FORECASTS,
        ),
    ] = 3,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="So many at once; all cores if not given.",
            rich_help_panel=_FORECASTS,
        ),
    ] = None,
    module: IsModule = False,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Keep the results there, as JSON; what is there already is not run again.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Draw MFU against memory there.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    help_all: HelpAll = False,
) -> None:
    """Forecast a script with many settings, and name the fastest.

    Each combination of the values is a `polyrank forecast --time` of its own. A setting takes the
    place of `{NAME}` in the script's arguments, or is added as `--NAME=VALUE`.

    **Exit codes**: 0 if a setting fits, 117 if none does.

    - `polyrank sweep --cluster dgx-h100 --ranks 64 --vary tp=1,2,4,8 --vary batch=1,2 train.py`
    """
    from rich.console import Console
    from rich.progress import Progress

    from polyrank.errors import UsageError
    from polyrank.forecast.clusters import find_cluster
    from polyrank.forecast.speeds import gpu_table
    from polyrank.forecast.sweep import Result, Sweep, parse_variations, sweep_page, sweep_table
    from polyrank.output.written_whole import write_json, write_text

    try:
        gpu_table(find_cluster(cluster))
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--cluster") from error
    json_target = None if json_file is None else writable_option(json_file, "--json")
    html_target = None if html_file is None else page_option(html_file)
    numbers = ("--ranks", str(ranks), "--rank", str(rank), "--steps", str(steps))
    try:
        made = Sweep(
            options=("--cluster", cluster, *numbers, *(["-m"] if module else [])),
            script=script,
            arguments=tuple(arguments or ()),
            variations=parse_variations(vary),
        )
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--vary") from error
    try:
        known = [] if json_target is None else made.read(json_target)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--json") from error

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(
            "forecasts", total=len(list(made.settings())), completed=len(known)
        )
        so_far = list(known)

        def finished(result: Result) -> None:
            so_far.append(result)
            if json_target is not None:
                write_json(json_target, made.document(so_far))
            progress.advance(task)

        results = made.run_all(jobs or os.cpu_count() or 1, known, finished)
    sweep_table(results, Console(width=None if Console().is_terminal else 160))
    if html_target is not None:
        write_text(html_target, sweep_page(results, f"{script} on {ranks} ranks of {cluster}"))
    raise typer.Exit(0 if any(result.fits for result in results) else exit_codes.DOES_NOT_FIT)
