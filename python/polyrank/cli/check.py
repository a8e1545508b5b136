"""`polyrank check`: what is silently wrong with a parallel program."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from polyrank.cli.app import app
from polyrank.cli.options import (
    WRITTEN,
    Arguments,
    Count,
    HtmlReport,
    IsModule,
    JsonReport,
    Nodes,
    RanksANode,
    Script,
    check_script,
    count_option,
    page_option,
    world_size_option,
    writable_option,
)
from polyrank.cli.short_help import HelpAll, ShortHelpCommand
from polyrank.worlds.run_options import RunOptions

if TYPE_CHECKING:
    from polyrank.divergence.mutate.campaign import Campaign
    from polyrank.divergence.mutate.report import CheckedMutants
    from polyrank.divergence.report import Report

__all__ = ["CheckedWorld", "Reports", "check", "run_options"]

check = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Say where a parallel program's numbers go wrong.",
)
app.add_typer(check, name="check")


class CheckedWorld(StrEnum):
    """Worlds that hold all ranks' values in one process."""

    threads = "threads"
    lockstep = "lockstep"


class MutatedWorld(StrEnum):
    """Worlds in which a script's collectives are mutated."""

    threads = "threads"
    lockstep = "lockstep"
    processes = "processes"


World = Annotated[CheckedWorld, typer.Option(metavar="NAME", help="**threads** or **lockstep**.")]
# Panels of the help.
_ORDERS = "Orders of summation"
_LIMITS = "How many run"


@dataclass(frozen=True)
class Reports:
    """Where a check writes what it found, beside the terminal."""

    json_file: Path | None
    html_file: Path | None

    @staticmethod
    def to(json_file: Path | None, html_file: Path | None) -> Reports:
        """Files as given, which can be written."""
        return Reports(
            None if json_file is None else writable_option(json_file, "--json"),
            None if html_file is None else page_option(html_file),
        )

    def tell(self, found: Report) -> NoReturn:
        """Print and write it, and end with its exit code."""
        from polyrank.output.written_whole import write_json, write_text

        sys.stderr.write(found.text())
        if self.json_file is not None:
            write_json(self.json_file, found.to_dict())
        if self.html_file is not None:
            write_text(self.html_file, found.page())
        raise typer.Exit(found.exit_code)


def run_options(
    script: str,
    arguments: tuple[str, ...],
    world: CheckedWorld,
    world_size: int,
    local_world_size: int,
    *,
    is_module: bool,
) -> RunOptions:
    if not is_module:
        check_script(script)
    return RunOptions(
        script=script,
        arguments=arguments,
        is_module=is_module,
        world=world.value,
        world_size=world_size,
        local_world_size=local_world_size,
        device=None,
        json_file=None,
    )


class OrderName(StrEnum):
    """Orders of summation, as `polyrank.reduction_order` has them."""

    rank = "rank"
    tree = "tree"
    gloo = "gloo"
    nccl_ring = "nccl_ring"
    nccl_tree = "nccl_tree"
    halving_doubling = "halving_doubling"
    exact = "exact"


@check.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def agreement(
    script: Script,
    arguments: Arguments = None,
    world: World = CheckedWorld.threads,
    ranks: Count = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Parameters and buffers that may differ, as `*.experts.*`; repeatable.",
        ),
    ] = None,
    json_file: JsonReport = None,
    html_file: HtmlReport = None,
    help_all: HelpAll = False,
) -> None:
    """Name the first operation at which ranks part that should hold the same.

    What was equal once is to stay equal: parameters, buffers and optimizer states, by the ranks that
    held them alike; DTensors by their placements; parameters whose gradients are reduced; and what
    `polyrank.expect_equal` declares. Where ranks part the script runs once more, the same again, with
    every operator watched. docs/divergence.md says what counts as a fault.

    **Exit codes**: as `polyrank run`, and 113 if ranks part.

    - `polyrank check agreement --ranks 4 train.py --epochs 1`
    - `polyrank check agreement --world lockstep --ranks 64 train.py`
    """
    from polyrank.divergence.checking import check_agreement

    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    local_world_size = nproc_per_node or world_size // nnodes
    options = run_options(
        script, tuple(arguments or ()), world, world_size, local_world_size, is_module=module
    )
    reports = Reports.to(json_file, html_file)
    reports.tell(check_agreement(options, tuple(ignore or ())))


@check.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def reference(
    script: Script,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="What the script gets; after a `|` of its own, what the reference gets."
        ),
    ] = None,
    world: World = CheckedWorld.threads,
    ranks: Count = None,
    against: Annotated[
        int,
        typer.Option(
            parser=count_option,
            metavar="M",
            help="Its ranks: 1, or N, paired rank by rank.",
        ),
    ] = 1,
    against_script: Annotated[
        Path | None,
        typer.Option(
            "--against-script", metavar="FILE", help="The reference, if it is another file."
        ),
    ] = None,
    module: IsModule = False,
    json_file: JsonReport = None,
    html_file: HtmlReport = None,
    help_all: HelpAll = False,
) -> None:
    """Name the first module and operation whose numbers leave those of a reference.

    The script runs on N ranks and on M, each with arguments of its own. What modules give, gradients and
    parameters are paired by the modules' paths; which part of a tensor a rank holds is found by its
    values. What rounding may do is computed: by the reference in float64, and with its sums in another
    order. docs/divergence.md says more.

    **Exit codes**: as `polyrank run`, and 113 if a value is off by more than rounding.

    - `polyrank check reference --ranks 8 train.py -- --tp 8 '|' --tp 1`
    """
    from polyrank.divergence.reference.checking import check_reference

    world_size = world_size_option(ranks, None, 1)
    if against not in (1, world_size):
        raise typer.BadParameter(
            f"{against} ranks can't be paired with {world_size}; there are 1 and {world_size}",
            param_hint="--against",
        )
    own, others = _split(arguments or [])
    program = run_options(script, own, world, world_size, world_size, is_module=module)
    known = run_options(
        str(against_script or script), others, world, against, against, is_module=module
    )
    reports = Reports.to(json_file, html_file)
    reports.tell(check_reference(program, known))


@check.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def order(
    script: Script,
    arguments: Arguments = None,
    world: World = CheckedWorld.threads,
    ranks: Count = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    orders: Annotated[
        list[OrderName] | None,
        typer.Option(
            "--order",
            metavar="ORDER",
            help=f"{', '.join(f'**{one.value}**' for one in OrderName)}; repeatable, the first "
            "prints. Default: all.",
            rich_help_panel=_ORDERS,
        ),
    ] = None,
    channels: Annotated[
        int,
        typer.Option(
            min=1, max=64, metavar="N", help="NCCL's channels, all in use.", rich_help_panel=_ORDERS
        ),
    ] = 1,
    json_file: JsonReport = None,
    html_file: HtmlReport = None,
    help_all: HelpAll = False,
) -> None:
    """Say how far the losses move with the order in which reductions add.

    The script runs once for each order of summation that a cluster may take, and once more in the first,
    to see that it repeats. What `backward()` starts from is its loss, averaged over the ranks. What the
    losses differ by is what rounding may legally do to them; what is further off is something else.
    docs/collectives.md says what the orders are.

    **Exit codes**: as `polyrank run`.

    - `polyrank check order --ranks 8 --nnodes 2 --channels 8 train.py`
    """
    from polyrank.divergence.order.checking import ORDERS, check_orders

    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    local_world_size = nproc_per_node or world_size // nnodes
    options = run_options(
        script, tuple(arguments or ()), world, world_size, local_world_size, is_module=module
    )
    reports = Reports.to(json_file, html_file)
    checked = check_orders(
        options,
        tuple(dict.fromkeys(one.value for one in orders)) if orders else ORDERS,
        channels=channels,
        ranks_per_node=local_world_size if nnodes > 1 else None,
    )
    reports.tell(checked)


@check.command(cls=ShortHelpCommand, context_settings={"allow_interspersed_args": False})
def mutate(
    script: Annotated[
        str | None,
        typer.Argument(help="The script, or with -m a module's name; none with --tests."),
    ] = None,
    arguments: Arguments = None,
    tests: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help='Run this instead of a script: "pytest tests/".',
        ),
    ] = None,
    world: Annotated[
        MutatedWorld,
        typer.Option(metavar="NAME", help="**threads**, **lockstep**, **processes**."),
    ] = MutatedWorld.threads,
    ranks: Count = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="K", help="Run at most K mutants now.", rich_help_panel=_LIMITS
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="S", help="Begin no mutant after S seconds.", rich_help_panel=_LIMITS
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="S",
            help="End a mutant that takes longer. Default: 5 times as long as without a mutation, and 10.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="So many at once, if they don't disturb each other.",
            rich_help_panel=_LIMITS,
        ),
    ] = 1,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Keep the results there, as JSON; what is there already is not run again, until a "
            "Python file in the working folder changes.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    html_file: HtmlReport = None,
    help_all: HelpAll = False,
) -> None:
    """Name collectives that could be left out, doubled or moved unnoticed.

    A command of --tests runs its ranks in worlds of polyrank, as pytest's tests do. The command runs once as it is, and its collectives are written down. Then it runs once for each change of
    one of them, which all ranks make: the line is not there, reduces once more, or runs after the next
    collective. Who ends with another exit code than 0, or takes too long, has noticed. docs/divergence.md
    says what a program sees of each change.

    **Exit codes**: 0 all were noticed, 113 some were not, 2 there is nothing to change; else as the command
    without a mutation.

    - `polyrank check mutate --tests "pytest tests/" --json mutants.json`
    - `polyrank check mutate --ranks 4 train.py --epochs 1`
    """
    from polyrank.divergence.mutate.campaign import Campaign, Limits
    from polyrank.divergence.mutate.command import Command
    from polyrank.errors import UsageError

    if (script is None) == (tests is None):
        raise typer.BadParameter("say either a script or --tests COMMAND", param_hint="SCRIPT")
    reports = Reports.to(json_file, html_file)
    if script is None:
        command = shlex.split(tests or "")
    else:
        if not module:
            check_script(script)
        world_size = world_size_option(ranks, nproc_per_node, nnodes)
        local_world_size = nproc_per_node or world_size // nnodes
        sizes = ("--nproc-per-node", str(local_world_size), "--nnodes", str(nnodes))
        run = [sys.executable, "-m", "polyrank", "run", "--world", world.value, *sizes]
        command = [*run, *(["-m"] if module else []), script, *(arguments or ())]
    campaign = Campaign(
        Command(tuple(command)),
        tests or shlex.join([script or "", *(arguments or ())]),
        reports.json_file,
        Limits(limit, seconds, timeout, jobs),
    )
    try:
        checked = _with_progress(campaign, reports)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--json") from error
    reports.tell(checked)


def _with_progress(campaign: Campaign, reports: Reports) -> CheckedMutants:
    from rich.console import Console
    from rich.progress import Progress

    from polyrank.output.written_whole import write_json

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("without a mutation", total=None)

        def finished(checked: CheckedMutants) -> None:
            if reports.json_file is not None:
                write_json(reports.json_file, checked.to_dict())
            progress.advance(task)

        return campaign.run(
            lambda total, known: progress.update(
                task, description="mutants", total=total, completed=known
            ),
            finished,
        )


def _split(arguments: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The program's arguments and the reference's: the same where no `|` stands between."""
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if "|" not in arguments:
        return tuple(arguments), tuple(arguments)
    at = arguments.index("|")
    return tuple(arguments[:at]), tuple(arguments[at + 1 :])
