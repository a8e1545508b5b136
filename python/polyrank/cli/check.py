"""`polyrank check`: what is silently wrong with a parallel program."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyrank.cli.app import app, world_size_option, writable_option
from polyrank.cli.options import (
    Arguments,
    Count,
    IsModule,
    JsonReport,
    Nodes,
    RanksANode,
    Script,
    count_option,
)
from polyrank.worlds.run_options import RunOptions

if TYPE_CHECKING:
    from polyrank.divergence.checking import Checked

__all__ = ["check"]

_EXIT_PARTED = 3
SCHEMA_VERSION = 1

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


World = Annotated[CheckedWorld, typer.Option(help="As of `polyrank run`.")]


class OrderName(StrEnum):
    """Orders of summation, as `polyrank.reduction_order` has them."""

    rank = "rank"
    tree = "tree"
    gloo = "gloo"
    nccl_ring = "nccl_ring"
    nccl_tree = "nccl_tree"
    halving_doubling = "halving_doubling"
    exact = "exact"


@check.command(context_settings={"allow_interspersed_args": False})
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
            help='Names of parameters and buffers that may differ: "*.experts.*". May be repeated.',
        ),
    ] = None,
    json_file: JsonReport = None,
) -> None:
    """Name the first operation at which ranks part that should hold the same.

    What was equal once is to stay equal: parameters, buffers and optimizer states, by the ranks that
    held them alike; DTensors by their placements; parameters whose gradients are reduced; and what
    `polyrank.expect_equal` declares. Where ranks part the script runs once more, the same again, with
    every operator watched. docs/divergence.md says what counts as a fault.

    **Exit codes**: as `polyrank run`, and 3 if ranks part.

    - `polyrank check agreement --ranks 4 train.py --epochs 1`
    - `polyrank check agreement --world lockstep --ranks 64 train.py`
    """
    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    if not module and not Path(script).is_file():
        raise typer.BadParameter(f"there is no script {script!r}", param_hint="SCRIPT")
    report = None if json_file is None else writable_option(json_file, "--json")
    options = RunOptions(
        script=script,
        arguments=tuple(arguments or ()),
        is_module=module,
        world=world.value,
        world_size=world_size,
        local_world_size=nproc_per_node or world_size // nnodes,
        device=None,
        json_file=None,
    )
    from polyrank.divergence.checking import check_agreement
    from polyrank.written_whole import write_json

    checked = check_agreement(options, tuple(ignore or ()))
    sys.stderr.write(checked.outcome.failure)
    sys.stderr.write(_text(checked))
    if report is not None:
        write_json(report, _document(options, checked))
    raise typer.Exit(_EXIT_PARTED if checked.findings else checked.outcome.exit_code)


@check.command(context_settings={"allow_interspersed_args": False})
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
            help="The reference's world size: 1, or as the program's, to be paired rank by rank.",
        ),
    ] = 1,
    against_script: Annotated[
        Path | None,
        typer.Option(
            "--against-script", metavar="FILE", help="The reference is this file, another version."
        ),
    ] = None,
    module: IsModule = False,
    json_file: JsonReport = None,
) -> None:
    """Name the first module and operation whose numbers leave those of a reference.

    The script runs on N ranks and on M, each with arguments of its own. What modules give, gradients and
    parameters are paired by the modules' paths; which part of a tensor a rank holds is found by its
    values. What rounding may do is computed: by the reference in float64, and with its sums in another
    order. docs/divergence.md says more.

    **Exit codes**: as `polyrank run`, and 3 if a value is off by more than rounding.

    - `polyrank check reference --ranks 8 --against 1 train.py -- --tp 8 '|' --tp 1`
    """
    from polyrank.divergence.reference.checking import check_reference
    from polyrank.divergence.reference.report import document_of, text_of
    from polyrank.written_whole import write_json

    world_size = world_size_option(ranks, None, 1)
    if against not in (1, world_size):
        raise typer.BadParameter(
            f"{against} ranks can't be paired with {world_size}; there are 1 and {world_size}",
            param_hint="--against",
        )
    for file in (script, *([str(against_script)] if against_script else [])):
        if not module and not Path(file).is_file():
            raise typer.BadParameter(f"there is no script {file!r}", param_hint="SCRIPT")
    report = None if json_file is None else writable_option(json_file, "--json")
    own, others = _split(arguments or [])
    options = [
        RunOptions(
            script=file,
            arguments=given,
            is_module=module,
            world=world.value,
            world_size=size,
            local_world_size=size,
            device=None,
            json_file=None,
        )
        for file, given, size in (
            (script, own, world_size),
            (str(against_script or script), others, against),
        )
    ]
    checked = check_reference(*options)
    sys.stderr.write(text_of(checked))
    if report is not None:
        write_json(report, document_of(checked))
    failed = checked.program.exit_code or checked.reference.exit_code
    raise typer.Exit(failed or (_EXIT_PARTED if checked.comparison.bug else 0))


@check.command(context_settings={"allow_interspersed_args": False})
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
            "--order", help="One to compare; may be repeated, the first prints. Default: all."
        ),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=64, help="NCCL's channels, all in use.")] = 1,
    json_file: JsonReport = None,
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
    from polyrank.written_whole import write_json

    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    if not module and not Path(script).is_file():
        raise typer.BadParameter(f"there is no script {script!r}", param_hint="SCRIPT")
    report = None if json_file is None else writable_option(json_file, "--json")
    local_world_size = nproc_per_node or world_size // nnodes
    options = RunOptions(
        script=script,
        arguments=tuple(arguments or ()),
        is_module=module,
        world=world.value,
        world_size=world_size,
        local_world_size=local_world_size,
        device=None,
        json_file=None,
    )
    checked = check_orders(
        options,
        tuple(dict.fromkeys(one.value for one in orders)) if orders else ORDERS,
        channels=channels,
        ranks_per_node=local_world_size if nnodes > 1 else None,
    )
    sys.stderr.write(checked.text())
    if report is not None:
        write_json(report, checked.to_dict())
    raise typer.Exit(checked.outcome.exit_code)


def _split(arguments: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The program's arguments and the reference's: the same where no `|` stands between."""
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if "|" not in arguments:
        return tuple(arguments), tuple(arguments)
    at = arguments.index("|")
    return tuple(arguments[:at]), tuple(arguments[at + 1 :])


def _text(checked: Checked) -> str:
    meeting = checked.meeting
    lines = []
    for finding in checked.findings:
        lines += [finding.text(), ""]
    kinds = list(meeting.watched.values())
    counts = [f"{kinds.count(kind):,} {kind}s" for kind in dict.fromkeys(kinds)]
    watched = " and ".join(counts) if counts else "no parameters"
    said = (
        "ranks part" if checked.findings else "no rank parts from those that it should agree with"
    )
    if checked.outcome.exit_code:
        said = f"the script ended with {checked.outcome.exit_code}; up to then {said}"
    lines.append(f"{said}: watched {watched} over {meeting.num_steps:,} optimizer steps")
    if checked.num_suspicions and not checked.findings:
        lines.append(
            f"{checked.num_suspicions:,} tensors differ for a reason that is no fault: each rank's own "
            "part, or a pipeline's stages"
        )
    by_reason: dict[str, list[str]] = {}
    for name, reason in meeting.unwatched.items():
        by_reason.setdefault(reason, []).append(name)
    lines += [f"not watched: {', '.join(names)}: {why}" for why, names in by_reason.items()]
    return "\n".join(lines) + "\n"


def _document(options: RunOptions, checked: Checked) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "world": options.world,
        "world_size": options.world_size,
        "script": options.script,
        "arguments": list(options.arguments),
        "exit_code": checked.outcome.exit_code,
        "findings": [finding.to_dict() for finding in checked.findings],
        "watched": checked.meeting.watched,
        "unwatched": checked.meeting.unwatched,
        "num_steps": checked.meeting.num_steps,
    }
