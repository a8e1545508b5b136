"""`polyrank forecast` and `polyrank clusters`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrank import exit_codes
from polyrank.cli.app import app
from polyrank.cli.chakra_target import ChakraTarget, chakra_option
from polyrank.cli.forecast_ranks import RanksAsked, forecast_ranks
from polyrank.cli.options import (
    WRITTEN,
    Arguments,
    ClusterName,
    IsModule,
    JsonReport,
    Script,
    WorldSize,
    check_script,
    page_option,
    writable_option,
)
from polyrank.cli.short_help import HelpAll, ShortHelpCommand
from polyrank.worlds.run_options import RunOptions

if TYPE_CHECKING:
    from polyrank.forecast.clusters import Cluster
    from polyrank.forecast.running import Forecast

__all__: list[str] = []


# Panels of the help.
_RANKS = "Ranks that run"
_RUN = "What they run"


class OnRead(StrEnum):
    """What a read of data that is not there gives."""

    assume = "assume"
    error = "error"


@app.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def forecast(
    script: Script,
    arguments: Arguments = None,
    cluster: ClusterName = "dgx-h100",
    ranks: WorldSize = 1,
    rank: Annotated[
        str,
        typer.Option(
            metavar="R,R-R,…",
            help="The rank that runs; or several, each in a process of its own, and what they wait for.",
            rich_help_panel=_RANKS,
        ),
    ] = "0",
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Run every rank that the rank exchanges messages with, too.",
            rich_help_panel=_RANKS,
        ),
    ] = False,
    slow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RANK=FACTOR",
            help="A rank whose kernels take so many times as long, and what that costs all; may be "
            "repeated. Needs several ranks.",
            rich_help_panel=_RANKS,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="So many ranks at once; all cores if not given.",
            rich_help_panel=_RANKS,
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="K",
            help="End the script after so many optimizer steps; 0: let it end.",
            rich_help_panel=_RUN,
        ),
    ] = 3,
    on_read: Annotated[
        OnRead,
        typer.Option(
            "--on-read",
            help="What reading a GPU's data gives. **assume**: a stand-in, listed in the report. "
            "**error**: an error.",
            rich_help_panel=_RUN,
        ),
    ] = OnRead.assume,
    module: IsModule = False,
    time: Annotated[
        bool, typer.Option("--time", help="Forecast the step's time, too, and what it waits for.")
    ] = False,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="What the rank takes in a step, for tokens a second (--time); if not given, what its "
            "embedding is given.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Write the timeline there, for ui.perfetto.dev; forecasts times.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    chakra_folder: Annotated[
        Path | None,
        typer.Option(
            "--chakra",
            metavar="FOLDER",
            help="Write what each rank launches there, as Chakra execution traces: SCRIPT.RANK.et, "
            "which ASTRA-sim reads; forecasts times.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    json_file: JsonReport = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write the report with pictures there: one file that opens without a network.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    snapshot_file: Annotated[
        Path | None,
        typer.Option(
            "--snapshot",
            metavar="FILE",
            help="Write the history of memory there, for pytorch.org/memory_viz.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    recording_file: Annotated[
        Path | None,
        # What a forecast of several ranks asks each of them for.
        typer.Option("--recording", metavar="FILE", hidden=True),
    ] = None,
    help_all: HelpAll = False,
) -> None:
    """Say whether a script fits into a GPU, and how fast it would be.

    The script runs as one rank of the fake world. Tensors on `cuda` have a size and no bytes; what
    they take is placed by a model of PyTorch's caching allocator, with the settings of
    PYTORCH_ALLOC_CONF. With --time each operator and collective has a time on its stream, too; of
    several ranks those at which they wait for each other. docs/forecast.md says what is modelled.

    **Exit codes**: as `polyrank run`, and 117 if it does not fit.

    - `polyrank forecast --cluster dgx-h100 --ranks 512 train.py --batch 4`
    - `polyrank forecast --ranks 512 --stages --slow 64=1.3 train.py`
    """
    from polyrank.errors import UsageError
    from polyrank.forecast.clusters import find_cluster
    from polyrank.forecast.ranks import parse_ranks, parse_slow
    from polyrank.forecast.running import Forecast

    if not module:
        check_script(script)
    try:
        asked_ranks = parse_ranks(rank, ranks)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--rank") from error
    try:
        slowness = parse_slow(slow or ())
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--slow") from error
    try:
        found = find_cluster(cluster)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--cluster") from error
    needs_time = (tokens, trace_file, chakra_folder, recording_file)
    has_time = time or bool(slow) or any(one is not None for one in needs_time)
    try:
        made = Forecast(found, ranks, asked_ranks[0], with_time=has_time, tokens=tokens)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--time") from error
    trace_target = None if trace_file is None else writable_option(trace_file, "--trace")
    json_target = None if json_file is None else writable_option(json_file, "--json")
    are_several = stages or len(asked_ranks) > 1
    _check_several(
        are_several, stages, asked_ranks, slowness, html_file, snapshot_file, chakra_folder
    )
    chakra = None
    if chakra_folder is not None:
        name = script.rpartition(".")[2] if module else Path(script).stem
        chakra = chakra_option(chakra_folder, name, () if stages else asked_ranks, ranks)
    local_world_size = _ranks_a_node(ranks, found)
    if are_several:
        raise typer.Exit(
            forecast_ranks(
                RanksAsked(
                    options=[
                        *("--cluster", cluster, "--ranks", str(ranks), "--steps", str(steps)),
                        *("--on-read", on_read.value),
                        *(["-m"] if module else []),
                        *(["--time"] if has_time else []),
                        *(["--tokens", str(tokens)] if tokens is not None else []),
                    ],
                    program=[script, *(arguments or ())],
                    cluster=cluster,
                    ranks=asked_ranks,
                    finds_stages=stages,
                    with_time=has_time,
                    slow=slowness,
                    jobs=jobs,
                    json_target=json_target,
                    trace_target=trace_target,
                    chakra=chakra,
                )
            )
        )
    html_target = None if html_file is None else page_option(html_file)
    snapshot_target = (
        None if snapshot_file is None else writable_option(snapshot_file, "--snapshot")
    )
    options = RunOptions(
        script=script,
        arguments=tuple(arguments or ()),
        is_module=module,
        world="fake",
        world_size=ranks,
        local_world_size=local_world_size,
        device="cuda",
        json_file=None,
        rank=asked_ranks[0],
    )
    raise typer.Exit(
        _run(
            options,
            made,
            steps=steps or None,
            refuses_reads=on_read == OnRead.error,
            json_target=json_target,
            html_target=html_target,
            snapshot_target=snapshot_target,
            trace_target=trace_target,
            chakra=chakra,
            recording_target=recording_file,
        )
    )


def _check_several(
    are_several: bool,
    finds_stages: bool,
    ranks: Sequence[int],
    slow: Mapping[int, float],
    html_file: Path | None,
    snapshot_file: Path | None,
    chakra_folder: Path | None,
) -> None:
    """Refuse options that do not go together."""
    problems = {
        "--stages": finds_stages
        and len(ranks) > 1
        and "finds the stages of one rank: name one (--rank R)",
        "--slow": bool(slow)
        and not are_several
        and "needs several ranks (--rank R,R,… or --stages)",
        "--html": are_several and html_file is not None and "shows one rank: name one (--rank R)",
        "--snapshot": are_several
        and snapshot_file is not None
        and "is of one rank: name one (--rank R)",
        "--chakra": bool(slow)
        and chakra_folder is not None
        and "holds what ranks launch, at the cluster's speed: leave --slow out",
    }
    unknown = sorted(set(slow) - set(ranks))
    if unknown and not finds_stages:
        problems["--slow"] = problems["--slow"] or f"rank {unknown[0]} is not among those that run"
    for option, problem in problems.items():
        if problem:
            raise typer.BadParameter(str(problem), param_hint=option)


def _ranks_a_node(ranks: int, cluster: Cluster) -> int:
    full = min(ranks, cluster.gpus_per_node)
    if ranks % full:
        raise typer.BadParameter(
            f"{ranks} ranks do not fill nodes of {cluster.gpus_per_node} GPUs", param_hint="--ranks"
        )
    return full


def _run(
    options: RunOptions,
    made: Forecast,
    *,
    steps: int | None,
    refuses_reads: bool,
    json_target: Path | None,
    html_target: Path | None,
    snapshot_target: Path | None,
    trace_target: Path | None,
    chakra: ChakraTarget | None,
    recording_target: Path | None,
) -> int:
    from polyrank.cli.progress import progress
    from polyrank.errors import UsageError
    from polyrank.forecast.page import write_page
    from polyrank.forecast.report import write_snapshot
    from polyrank.output.written_whole import write_json, write_text
    from polyrank.worlds.fake import entered
    from polyrank.worlds.in_process import run_here, run_main

    _check_allocator_settings()
    gpus = made.gpus(steps=steps, refuses_reads=refuses_reads)
    with progress(options, lambda: f"{made.num_steps:,} optimizer steps" if made.num_steps else ""):
        outcome = run_here(options, entered(options, gpus), run_main)
    sys.stdout.write(made.report(has_failed=bool(outcome.failure)))
    sys.stderr.write(outcome.failure)
    if json_target is not None:
        write_json(json_target, made.to_dict() | {"error": outcome.error})
    if html_target is not None:
        write_page(made, html_target)
    if snapshot_target is not None:
        write_snapshot(made, snapshot_target)
    if trace_target is not None and made.timeline is not None:
        write_text(trace_target, made.timeline.chrome_trace(made.rank))
    if recording_target is not None and made.timeline is not None:
        write_text(recording_target, json.dumps(made.timeline.recording(made.rank)))
    exit_code: int = outcome.exit_code
    if chakra is not None and made.timeline is not None:
        try:
            chakra.write([made.timeline.recording(made.rank)])
        except UsageError as error:
            sys.stderr.write(f"polyrank: {error}\n")
            exit_code = exit_code or 1
    return exit_code if made.memory.fits else exit_codes.DOES_NOT_FIT


def _check_allocator_settings() -> None:
    """PyTorch reads them when GPUs are switched on, which is before the script's first line."""
    from polyrank.errors import UsageError
    from polyrank.virtual_gpu import virtual_gpu

    try:
        with virtual_gpu():
            pass
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="the environment") from error


@app.command()
def clusters() -> None:
    """List the clusters that forecasts know, and their sources."""
    from polyrank.forecast.clusters import cluster_names, find_cluster
    from polyrank.forecast.speeds import gpu_table

    for name in cluster_names():
        cluster = find_cluster(name)
        typer.echo(f"{name}: {cluster.gpus_per_node} x {cluster.gpu_name}")
        _list_figures(vars(cluster))
        if cluster.links is not None:
            _list_figures(vars(cluster.links))
            _list_figures(gpu_table(cluster).figures)


def _list_figures(fields: Mapping[str, object]) -> None:
    from polyrank.forecast.figures import Figure

    for field, figure in fields.items():
        if isinstance(figure, Figure):
            typer.echo(f"  {field} {figure.value:,.12g}  ({figure.source})")
