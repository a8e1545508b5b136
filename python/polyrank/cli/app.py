"""The commands and what they accept."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import Arguments, Count, IsModule, Nodes, RanksANode, Script
from polyrank.world import MAX_RANKS, World, default_world, find_world, worlds
from polyrank.worlds.run_options import RunOptions
from polyrank.written_whole import writable_target

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Runs an N-rank distributed PyTorch program on one machine.",
)


class Schedule(StrEnum):
    """Which rank runs next, of those that can."""

    in_turn = "in_turn"
    random = "random"


class Device(StrEnum):
    """Where tensors of a script that asks for cuda live."""

    cpu = "cpu"
    cuda = "cuda"


class RankEnvironment(StrEnum):
    """What RANK and LOCAL_RANK are where one process runs all ranks."""

    ask = "ask"
    zero = "0"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from polyrank.version import __version__

        typer.echo(f"polyrank {__version__}")
        raise typer.Exit


@app.callback()
def polyrank(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Keep `run` a command of its own, so that others can stand beside it."""


def _world(name: str) -> str:
    names = [world.name for world in worlds()]
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        raise typer.BadParameter(
            f"there is no world {name!r}"
            + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}")
        )
    return name


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    script: Script,
    arguments: Arguments = None,
    world: Annotated[
        str | None,
        typer.Option(
            parser=_world,
            metavar="NAME",
            help=" ".join(f"**{one.name}**: {one.summary}." for one in worlds())
            + " Default: processes, or threads where an option is theirs or memory is short.",
        ),
    ] = None,
    ranks: Count = None,
    rank: Annotated[
        int | None,
        typer.Option(min=0, metavar="R", help="The rank that runs in the fake world; default 0."),
    ] = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    device: Annotated[
        Device | None,
        typer.Option(
            help="**cuda**: the machine's GPUs, or where it has none virtual ones, one for each rank of a "
            "node. **cpu**: no GPU. Default: cuda."
        ),
    ] = None,
    rank_env: Annotated[
        RankEnvironment | None,
        typer.Option(
            "--rank-env",
            help="Lockstep world: what reading RANK, LOCAL_RANK, GROUP_RANK or ROLE_RANK gives. **ask**: "
            "an error that says what to ask instead. **0**: rank 0's, for libraries that log by it.",
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help="Threads and processes: one rank goes at a time, until it has to wait, so that runs "
            "repeat; which is next: **in_turn**: who could go on first. **random**: drawn from --seed, "
            "to find what depends on the order. Default: in_turn on threads; processes run side by side."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="S", help="Of --schedule random; default 0. Replays a run."),
    ] = None,
    schedules: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Threads and processes: run the script in K random schedules, with seeds from --seed on, up "
            "to the first that fails.",
        ),
    ] = None,
    shared_module: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Threads world: a package that ranks share, with its globals, instead of each "
            "having its own; one that registers types with compiled ones, say. May be repeated.",
        ),
    ] = None,
    own_module: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Threads world: an installed package of which each rank has its own, though it loads "
            "a compiled part. May be repeated.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Threads world: tell which packages ranks share, and why."),
    ] = False,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            "--log-dir",
            "--log_dir",
            metavar="DIR",
            help="Threads and processes: write what rank r prints to DIR/r/stdout.log and DIR/r/stderr.log.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Processes world: end a run that takes longer, and say where each rank stands.",
        ),
    ] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Processes world: a module to import before ranks are forked, which saves each the "
            "time and the memory. May be repeated.",
        ),
    ] = None,
    debug_rank: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="R",
            help="Processes world: rank R has the terminal, so that breakpoint() works there; the "
            "others wait for it as long as it takes.",
        ),
    ] = None,
    hash_seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Processes world: K salts of string hashes among the ranks, as processes of torchrun "
            "have one each, so that what depends on the order of a set shows.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write what ran there too, as JSON."),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Write every collective there, for ui.perfetto.dev and for other programs.",
        ),
    ] = None,
) -> None:
    """Run a torch.distributed script on N ranks on this machine, every rank's values exact.

    Each rank is a process, as under torchrun; with --world threads a thread, in turns; with
    --world lockstep it runs once for all ranks, with --world fake as one of N ranks, with nobody to
    talk to, with --world real in N processes that torchrun starts.

    The script is an ordinary one: it calls init_process_group with any backend, get_rank(),
    DeviceMesh, collectives. With --world lockstep get_rank() gives an int that differs between
    ranks; slicing and arithmetic take it as it is. A branch on it (if rank == 0:) can't go both
    ways at once there and is an error that says so.

    torch computes on one thread, as under torchrun, so that results do not depend on the number of
    cores; set OMP_NUM_THREADS for more.

    **Examples**

    - `polyrank run --world lockstep --ranks 64 train.py --epochs 2`
    - `polyrank run --nproc-per-node 8 --nnodes 4 -m my_package.train`
    - `polyrank run --world threads --ranks 4 --schedules 20 pipeline.py`
    - `polyrank run --world fake --ranks 4096 --rank 17 --trace out.json train.py`
    - `polyrank run --world real --ranks 4 --trace out.json train.py`

    **Exit codes** (else the script's own, from sys.exit)

    - 0: done
    - 1: the script raised
    - 2: these arguments are wrong
    - 3: ranks disagree (DivergenceError)
    - 4: a collective is wrong (CollectiveError)
    - 5: an operator is not supported (UnsupportedOpError)
    - 6: the --json or --trace file could not be written in the end
    """
    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    if not module and not Path(script).is_file():
        raise typer.BadParameter(f"there is no script {script!r}", param_hint="SCRIPT")
    given = {
        "rank": rank,
        "rank_env": rank_env,
        "schedule": schedule,
        "seed": seed,
        "schedules": schedules,
        "own_module": own_module or None,
        "shared_module": shared_module or None,
        "verbose": verbose or None,
        "log_dir": log_dir,
        "timeout": timeout,
        "preload": preload or None,
        "debug_rank": debug_rank,
        "hash_seeds": hash_seeds,
    }
    chosen = _chosen_world(world, world_size, given)
    _check_world(chosen, world_size, nnodes)
    _refuse_what_it_does_not_take(chosen, given)
    for option, number in (("--rank", rank), ("--debug-rank", debug_rank)):
        if number is not None and number >= world_size:
            raise typer.BadParameter(
                f"a world of {world_size} ranks has no rank {number}", param_hint=option
            )
    if schedule == Schedule.in_turn and schedules is not None:
        raise typer.BadParameter("are random ones", param_hint="--schedules")
    is_random = schedule == Schedule.random or schedules is not None
    if seed is not None and not is_random:
        raise typer.BadParameter(
            "nothing is drawn unless you say --schedule random or --schedules K",
            param_hint="--seed",
        )
    if hash_seeds is not None and schedules is not None:
        raise typer.BadParameter(
            "is for one run; try orders with --schedule random --seed S", param_hint="--hash-seeds"
        )
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
        rank=rank,
        rank_env="ask" if rank_env is None else rank_env.value,
        schedule="random" if is_random else schedule and schedule.value,
        seed=seed or 0,
        num_schedules=schedules or 1,
        own_modules=tuple(own_module or ()),
        shared_modules=tuple(shared_module or ()),
        is_verbose=verbose,
        log_folder=None if log_dir is None else _writable_folder(log_dir),
        timeout_seconds=timeout,
        preloaded=tuple(preload or ()),
        debug_rank=debug_rank,
        num_hash_seeds=min(hash_seeds or 1, world_size),
    )
    from polyrank.cli.run import run_program

    raise typer.Exit(run_program(options))


def _chosen_world(name: str | None, world_size: int, given: Mapping[str, object]) -> World:
    """Each option by its field; those that are None were not given."""
    if name is not None:
        return find_world(name)
    options = frozenset(field for field, value in given.items() if value is not None)
    chosen, reason = default_world(world_size, options)
    if reason is not None:
        typer.echo(f"--world {chosen.name}: {reason}", err=True)
    return chosen


def _check_world(world: World, world_size: int, nnodes: int) -> None:
    if nnodes > 1 and not world.spans_nodes:
        raise typer.BadParameter(
            f"--world {world.name} starts processes on this machine only; start more nodes with "
            "torchrun",
            param_hint="--nnodes",
        )
    if (reason := world.why_no_room(world_size)) is not None:
        raise typer.BadParameter(f"{reason}; another world has room", param_hint="--ranks")


def _refuse_what_it_does_not_take(chosen: World, given: Mapping[str, object]) -> None:
    """Each value by its field; those that are None were not given."""
    for name, value in given.items():
        if value is not None and name not in chosen.takes:
            takers = " or ".join(world.name for world in worlds() if name in world.takes)
            raise typer.BadParameter(
                f"is for --world {takers}; --world {chosen.name} is {chosen.summary}",
                param_hint=f"--{name.replace('_', '-')}",
            )


def _writable_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(folder)!r} can't be made: {error.strerror or error}", param_hint="--log-dir"
        ) from error
    return folder.resolve()


def writable_option(file: Path, option: str) -> Path:
    try:
        return writable_target(file)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(file)!r} can't be written: {error.strerror or error}", param_hint=option
        ) from error


def page_option(file: Path) -> Path:
    from polyrank.errors import UsageError
    from polyrank.html_page import check_page_can_be_written

    try:
        check_page_can_be_written()
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--html") from error
    return writable_option(file, "--html")


def world_size_option(ranks: int | None, nproc_per_node: int | None, nnodes: int) -> int:
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


def main() -> None:
    """Entry point of the `polyrank` command."""
    from polyrank.cli import check, forecast, sweep  # noqa: F401  add their commands to `app`

    app()
