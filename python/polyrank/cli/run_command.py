"""`polyrank run`: its options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from polyrank.cli.app import app
from polyrank.cli.options import (
    WRITTEN,
    Arguments,
    Count,
    IsModule,
    Nodes,
    RanksANode,
    Script,
    check_script,
    page_option,
    world_size_option,
    writable_option,
)
from polyrank.cli.run_checks import (
    SCHEDULES,
    check_order,
    check_rank,
    check_world,
    chosen_world,
    known_schedule,
    known_world,
    refuse_what_it_does_not_take,
    without_unused_settings,
    writable_folder,
)
from polyrank.cli.short_help import HelpAll, ShortHelpCommand
from polyrank.process_ranks.served_run import served_run
from polyrank.world import worlds
from polyrank.worlds.run_options import RunOptions, script_folder

__all__: list[str] = []

# Panels of the help.
_ONE_PROCESS = "Lockstep and fake worlds"
_ORDER = "Order of ranks (threads, processes)"
_THREADS = "Threads world"
_PROCESSES = "Processes world"
_STARTED = "Start"


class Device(StrEnum):
    """Where tensors of a script that asks for cuda live."""

    cpu = "cpu"
    cuda = "cuda"


class RankEnvironment(StrEnum):
    """What RANK and LOCAL_RANK are where one process runs all ranks."""

    ask = "ask"
    zero = "0"


# After the options, in the long form of the help.
_MORE = """
Options may stand in pyproject.toml ([tool.polyrank.run]) or the environment (POLYRANK_RUN_RANKS).
docs/run.md tells more of each.

**Exit codes**, or the script's own: 0 done, 1 the script raised, 2 wrong arguments, 113 ranks
disagree, 114 a collective is wrong, 115 an operator is not supported, 116 a report can't be written.
"""


@app.command(
    cls=ShortHelpCommand, epilog=_MORE, context_settings={"allow_interspersed_args": False}
)
def run(
    context: typer.Context,
    script: Script,
    arguments: Arguments = None,
    world: Annotated[
        str | None,
        typer.Option(
            parser=known_world,
            autocompletion=lambda: [(one.name, one.summary) for one in worlds()],
            metavar="NAME",
            help="**processes**, **threads**, **lockstep**, **fake**, **real**",
        ),
    ] = None,
    ranks: Count = None,
    rank: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="R", help="Fake: the rank that runs.", rich_help_panel=_ONE_PROCESS
        ),
    ] = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    device: Annotated[
        Device | None,
        typer.Option(metavar="cpu|cuda", help="**cuda** (default): GPUs, or virtual ones."),
    ] = None,
    rank_env: Annotated[
        RankEnvironment | None,
        typer.Option(
            "--rank-env", help="Lockstep: RANK is each rank's, or 0.", rich_help_panel=_ONE_PROCESS
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            parser=known_schedule,
            autocompletion=lambda: SCHEDULES,
            metavar="in_turn|random",
            help="One rank at a time, in order or drawn.",
            rich_help_panel=_ORDER,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="S", help="Of the random order.", rich_help_panel=_ORDER),
    ] = None,
    schedules: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="K random orders, up to one that fails.",
            rich_help_panel=_ORDER,
        ),
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="What each rank prints, to DIR/rank/.", rich_help_panel=WRITTEN
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="What ran, as JSON.", rich_help_panel=WRITTEN),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Every collective, for ui.perfetto.dev.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="A page with pictures.", rich_help_panel=WRITTEN
        ),
    ] = None,
    shared_module: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A package that ranks share; repeatable.", rich_help_panel=_THREADS
        ),
    ] = None,
    own_module: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A package that they don't; repeatable.", rich_help_panel=_THREADS
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Tell more of how the ranks run.", rich_help_panel=WRITTEN),
    ] = False,
    no_serve: Annotated[
        bool,
        typer.Option(
            "--no-serve", help="Use no server of `polyrank serve`.", rich_help_panel=_STARTED
        ),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="End a run that takes longer.",
            rich_help_panel=_PROCESSES,
        ),
    ] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A module to import once; repeatable.", rich_help_panel=_PROCESSES
        ),
    ] = None,
    debug_rank: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="R", help="Rank R has the terminal.", rich_help_panel=_PROCESSES
        ),
    ] = None,
    hash_seeds: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="K", help="K salts of string hashes.", rich_help_panel=_PROCESSES
        ),
    ] = None,
    help_all: HelpAll = False,
) -> None:
    """Run a torch.distributed script on N ranks of this machine.

    - `polyrank run --ranks 8 train.py --epochs 2`
    - `polyrank run --world lockstep --ranks 64 train.py`
    - `polyrank run --nproc-per-node 8 --nnodes 4 -m my_package.train`
    """
    from_settings = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "DEFAULT_MAP"
    }
    if "ranks" in from_settings and nproc_per_node and "nproc_per_node" not in from_settings:
        ranks = None
    if "nproc_per_node" in from_settings and ranks and "ranks" not in from_settings:
        nproc_per_node = None
    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    if not module:
        check_script(script)
    given: dict[str, Any] = {
        "rank": rank,
        "rank_env": rank_env,
        "schedule": schedule,
        "seed": seed,
        "schedules": schedules,
        "own_module": own_module or None,
        "shared_module": shared_module or None,
        "log_dir": log_dir,
        "timeout": timeout,
        "preload": preload or None,
        "debug_rank": debug_rank,
        "hash_seeds": hash_seeds,
    }
    typed = {name: None if name in from_settings else value for name, value in given.items()}
    chosen, why_chosen = chosen_world(world, world_size, typed)
    if (served := served_run()) is not None:
        served.take(
            chosen.name,
            preload or (),
            script_folder(script, is_module=module),
            refused="--no-serve" if no_serve else "--hash-seeds" if hash_seeds else None,
        )
    if why_chosen is not None:
        typer.echo(f"--world {chosen.name}: {why_chosen}", err=True)
    check_world(chosen, world_size, nnodes)
    refuse_what_it_does_not_take(chosen, typed)
    given = without_unused_settings(given, from_settings, chosen)
    check_rank(given, world_size)
    is_random = check_order(given)
    options = RunOptions(
        script=script,
        arguments=tuple(arguments or ()),
        is_module=module,
        world=chosen.name,
        world_size=world_size,
        local_world_size=nproc_per_node or world_size // nnodes,
        device=None if device is None else device.value,
        json_file=None if json_file is None else writable_option(json_file, "--json"),
        trace_file=None if trace_file is None else writable_option(trace_file, "--trace"),
        html_file=None if html_file is None else page_option(html_file),
        rank=given["rank"],
        rank_env=(given["rank_env"] or RankEnvironment.ask).value,
        schedule="random" if is_random else given["schedule"],
        seed=given["seed"] or 0,
        num_schedules=given["schedules"] or 1,
        own_modules=tuple(given["own_module"] or ()),
        shared_modules=tuple(given["shared_module"] or ()),
        is_verbose=verbose,
        log_folder=None if given["log_dir"] is None else writable_folder(given["log_dir"]),
        timeout_seconds=given["timeout"],
        preloaded=tuple(given["preload"] or ()),
        debug_rank=given["debug_rank"],
        num_hash_seeds=min(given["hash_seeds"] or 1, world_size),
    )
    from polyrank.cli.run import run_program

    raise typer.Exit(run_program(options))
