"""`polyrank calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrank.cli.app import app
from polyrank.cli.options import writable_option

if TYPE_CHECKING:
    from polyrank.forecast.speeds import GpuTable


@app.command()
def calibrate(
    file: Annotated[
        Path, typer.Argument(help="Write the table there; a cluster's file names it: gpu_speeds.")
    ],
    like: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="The table of speeds that has this GPU's peaks; by the GPU's name if not given.",
        ),
    ] = None,
) -> None:
    """Measure this machine's GPU for forecasts of time.

    Times matmuls, attention, copies and small kernels on the current GPU, and writes how fast they
    are by the GPU's peaks: the same file as those that come with the package, each figure with what
    it was measured on and how far off it is. Takes a minute. Nothing else should run on the GPU.

    - `polyrank calibrate my_h100.toml`
    """
    from polyrank.calibrate.fit import fitted
    from polyrank.calibrate.probes import measured
    from polyrank.calibrate.table_file import table_text
    from polyrank.calibrate.timing import GpuTimer, check_gpu
    from polyrank.errors import UsageError
    from polyrank.output.written_whole import write_text

    try:
        check_gpu()
        table = _table_of(like)
    except UsageError as error:
        sys.stderr.write(f"polyrank: {error}\n")
        raise typer.Exit(2) from error
    target = writable_option(file, "FILE")

    import torch

    gpu = torch.cuda.get_device_properties()
    found = measured(GpuTimer(), lambda what: typer.echo(f"{what} …", err=True))
    try:
        figures = fitted(found, table, gpu.multi_processor_count)
    except UsageError as error:
        sys.stderr.write(f"polyrank: {error}\n")
        raise typer.Exit(1) from error
    for name, figure in figures.items():
        typer.echo(f"{name} {figure}")
    for skipped in found.skipped:
        typer.echo(f"not measured: {skipped}")
    where = f"{gpu.name}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    write_text(target, table_text(table, figures, where))


def _table_of(like: str | None) -> GpuTable:
    """The table of that name, or of the cluster that has this GPU.

    Raises:
        UsageError: there is none.
    """
    import torch

    from polyrank.errors import UsageError
    from polyrank.forecast.clusters import cluster_names, find_cluster
    from polyrank.forecast.speeds import find_table, gpu_table_names

    if like is not None:
        return find_table(like)
    name = torch.cuda.get_device_name()
    for cluster in map(find_cluster, cluster_names()):
        if cluster.gpu_name == name and cluster.gpu_speeds is not None:
            return find_table(cluster.gpu_speeds)
    raise UsageError(
        f"no cluster has a {name!r}: say which table has its peaks (--like), of "
        f"{', '.join(gpu_table_names())}, or a file of your own"
    )
