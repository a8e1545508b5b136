"""`polyrank check logs` and `check save-logs`: logs of PyTorch's DebugMode."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.check import CheckedWorld, Reports, check, run_options
from polyrank.cli.options import (
    Arguments,
    Count,
    HtmlReport,
    IsModule,
    JsonReport,
    Nodes,
    RanksANode,
    Script,
    world_size_option,
    writable_option,
)

__all__ = ["logs", "save_logs"]


class HashName(StrEnum):
    """Hashes of tensors, as `DebugMode.log_tensor_hashes` has them."""

    norm = "norm"
    hash_tensor = "hash_tensor"


@check.command()
def logs(
    file: Annotated[Path, typer.Argument(help="A log as DebugMode.save_logs writes it.")],
    other: Annotated[Path, typer.Argument(help="Of another rank, run or version.")],
    json_file: JsonReport = None,
    html_file: HtmlReport = None,
) -> None:
    """Name the first call at which two logs of PyTorch's DebugMode differ.

    Logs are what `polyrank check save-logs` writes, or `DebugMode.save_logs(mode.logs, file)` of torch 2.14
    and later, of a run with `DebugMode.log_tensor_hashes(hash_inputs=True)`: then a call that takes the same
    in both and gives something else is told first.

    **Exit codes**: 0 they are the same, 113 they differ.

    - `polyrank check logs rank_0.json rank_1.json`
    """
    from polyrank.divergence.debug_logs import compare_logs
    from polyrank.errors import UsageError

    reports = Reports.to(json_file, html_file)
    try:
        compared = compare_logs(file, other)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    reports.tell(compared)


@check.command(context_settings={"allow_interspersed_args": False})
def save_logs(
    script: Script,
    arguments: Arguments = None,
    into: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where rank_0.json, rank_1.json, … go."),
    ] = Path("debug_logs"),
    ranks: Count = None,
    nproc_per_node: RanksANode = None,
    nnodes: Nodes = 1,
    module: IsModule = False,
    hashes: Annotated[
        HashName,
        typer.Option(
            help="Of tensors: the sum of absolute values, or torch.hash_tensor of all bits."
        ),
    ] = HashName.norm,
    json_file: JsonReport = None,
    html_file: HtmlReport = None,
) -> None:
    """Write what PyTorch's DebugMode logs of each rank, as `DebugMode.save_logs` does.

    The ranks are threads, each in a DebugMode that hashes what operators take and give and keeps their lines.
    `polyrank check logs` compares two of the files, or one of them with a log that a rank of a cluster saved;
    `DebugMode.load_logs` of torch 2.14 reads them, too.

    **Exit codes**: as `polyrank run`.

    - `polyrank check save-logs --ranks 4 --into logs train.py`
    """
    from polyrank.divergence.saved_logs import log_file, save_logs

    world_size = world_size_option(ranks, nproc_per_node, nnodes)
    local_world_size = nproc_per_node or world_size // nnodes
    options = run_options(
        script,
        tuple(arguments or ()),
        CheckedWorld.threads,
        world_size,
        local_world_size,
        is_module=module,
    )
    reports = Reports.to(json_file, html_file)
    folder = _folder_option(into, "--into")
    for rank in range(world_size):
        writable_option(log_file(folder, rank), "--into")
    reports.tell(save_logs(options, folder, hashes.value))


def _folder_option(folder: Path, option: str) -> Path:
    """The absolute path of a folder, which is made if there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(folder)!r} can't be made: {error.strerror or error}", param_hint=option
        ) from error
    return folder.resolve()
