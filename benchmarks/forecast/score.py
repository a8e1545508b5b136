"""Runs again, as forecasts, the measured runs that can be rebuilt, and says how far off they are.

    make forecast-score FORECAST_FLAGS="--only 43 --only 49 --json score.json"

The real program of each row runs as one rank of the row's world, in an environment of its own
(clients/clients.toml). No constant is fitted: what is measured goes into the tables alone. Sources are two
halves, of which one is held out: what a forecast misses is looked for in the other. Beside times stand
two forecasts that know next to nothing: a constant share of the GPU's peak, and all kernels at its peaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rebuild import HELD_OUT, HERE, Run, measured_runs, rebuilt
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(HERE.parents[1] / "clients"))
from client_list import make_environment, read_clients

GIB = 2**30
STEPS = 3  # the first one allocates the optimizer's states, the others are alike
SECONDS = 1200
DOES_NOT_FIT = 117  # exit code of `polyrank forecast`
# Of the peak, that training reaches: what one would guess who knows the GPU alone.
CONSTANT_SHARE = {"A100": 0.46}
USUAL_SHARE = 0.40
ALL = "all that were not compiled"

Error = TypeVar("Error")


@dataclass
class Times:
    """Tokens a second of one GPU, as measured and as forecast in three ways."""

    measured: float
    forecast: float
    by_constant_share: float
    by_roofline: float

    def errors(self) -> dict[str, float]:
        """Relative, of each forecast."""
        return {
            "polyrank": self.forecast / self.measured - 1,
            "constant share": self.by_constant_share / self.measured - 1,
            "roofline": self.by_roofline / self.measured - 1,
        }


@dataclass
class Scored:
    """A row, and its forecast."""

    id: str
    source: str
    kind: str  # what was measured: "reserved", …
    measured_gib: float | None  # None: it ran out of memory
    forecast_gib: float | None  # None: so does the forecast
    has_fitted: bool
    fits: bool
    cluster: str
    is_compiled: bool
    is_held_out: bool
    seconds: float
    failure: str  # empty: the forecast ran
    times: Times | None = None  # None: none was measured, or forecast

    @property
    def error(self) -> float | None:
        """Relative, of the forecast."""
        if self.measured_gib is None or self.forecast_gib is None:
            return None
        return self.forecast_gib / self.measured_gib - 1

    @property
    def groups(self) -> list[str]:
        """What it counts for in tables of means."""
        if self.is_compiled:
            return [f"{self.source}, compiled"]
        half = "held out" if self.is_held_out else "looked at"
        return [self.source, f"{ALL} on {self.cluster}: {half}", f"{ALL} on {self.cluster}"]


def score(row: dict[str, str], run: Run, python: Path) -> Scored:
    """Run the row's program as a forecast."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(str(python), "-m", "polyrank", "forecast", "--cluster", run.cluster),
            *("--ranks", str(run.ranks), "--rank", str(run.rank), "--steps", str(STEPS)),
            *("--json", str(report)),
            *("--tokens", str(run.tokens)),
            *(str(HERE / "programs" / run.program), run.argument),
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=folder,
            env=os.environ | {"PYTORCH_ALLOC_CONF": run.allocator},
        )
        told = json.loads(report.read_text()) if report.is_file() else None
    ran = told is not None and done.returncode in (0, DOES_NOT_FIT)
    kind = "allocated" if row["mem_kind"].startswith("allocated") else "reserved"
    ran_out = ran and told["memory"]["num_ooms"] > 0
    return Scored(
        id=row["id"],
        source=row["source"],
        kind=kind,
        measured_gib=float(row["mem_GiB"]) if row["mem_GiB"] else None,
        forecast_gib=told["memory"][f"peak_{kind}"] / GIB if ran and not ran_out else None,
        has_fitted=row["outcome"] == "ok",
        fits=ran and told["fits"],
        cluster=run.cluster,
        is_compiled=run.is_compiled,
        is_held_out=row["source"] in HELD_OUT,
        seconds=time.monotonic() - begun,
        failure="" if ran else (done.stderr.strip().splitlines() or ["?"])[-1],
        times=times_of(row, run, told["time"]) if ran and not ran_out else None,
    )


def flops_of_token(row: dict[str, str]) -> float:
    """As torchtitan and others count them for MFU: attention as if every token saw all others."""
    layers, hidden, seq = (int(row[name]) for name in ("layers", "hidden", "seq"))
    words = int(row["vocab"]) * hidden
    if row["params_B"]:
        matrices = float(row["params_B"]) * 1e9 - words
    else:  # a model of the table's own, gated as Llama's
        kept = hidden * int(row["kv_heads"]) // int(row["heads"])
        matrices = layers * hidden * (2 * hidden + 2 * kept + 3 * int(row["ffn"])) + words
    return 6 * matrices + 12 * layers * hidden * seq


def times_of(row: dict[str, str], run: Run, told: dict[str, Any]) -> Times | None:
    """What was measured of time beside what is forecast; None if one of them is missing."""
    if not row["tok_s_gpu"] or not told["steps"] or not run.has_times:
        return None
    share = next((share for gpu, share in CONSTANT_SHARE.items() if gpu in row["gpu"]), USUAL_SHARE)
    return Times(
        measured=float(row["tok_s_gpu"]),
        forecast=told["tokens_per_second"],
        by_constant_share=share * told["peak_flops"] / flops_of_token(row),
        by_roofline=run.tokens / (told["steps"][-1]["roofline_ns"] * 1e-9),
    )


def row_of(one: Scored) -> list[str]:
    """The table's row."""
    forecast = "does not fit" if not one.fits else ""
    if one.forecast_gib is not None:
        forecast = f"{one.forecast_gib:.2f}" + (", does not fit" if not one.fits else "")
    return [
        one.id,
        one.source,
        one.kind + (", compiled" if one.is_compiled else ""),
        "did not fit" if one.measured_gib is None else f"{one.measured_gib:.2f}",
        one.failure or forecast,
        "" if one.error is None else f"{one.error:+.1%}",
        f"{one.seconds:.0f}",
    ]


def means(scored: list[Scored]) -> list[dict[str, Any]]:
    """The mean of the errors' sizes by source and by half; rows that were compiled stand apart."""
    return [
        {"source": group, "rows": len(errors)} | sizes_of(errors, "mean", "most")
        for group, errors in grouped(scored, lambda one: one.error).items()
    ]


def grouped(
    scored: list[Scored], error_of: Callable[[Scored], Error | None]
) -> dict[str, list[Error]]:
    """The errors that there are by what they count for, sources first."""
    groups: dict[str, list[Error]] = defaultdict(list)
    for one in scored:
        if (error := error_of(one)) is not None:
            for group in one.groups:
                groups[group].append(error)
    return dict(sorted(groups.items(), key=lambda item: item[0].startswith(ALL)))


def sizes_of(errors: Sequence[float], mean: str, most: str) -> dict[str, float]:
    """The mean of the errors' sizes, and the largest one."""
    sizes = [abs(error) for error in errors]
    return {mean: sum(sizes) / len(sizes), most: max(sizes)}


def print_times(scored: list[Scored], console: Console) -> None:
    """Tokens a second of each row, and means of the errors' sizes by source."""
    table = Table(
        *("row", "source", "measured", "forecast", "error", "constant share", "roofline"),
        title="Tokens a second and GPU",
    )
    for one in scored:
        if one.times is not None:
            table.add_row(
                one.id,
                one.source + (", compiled" if one.is_compiled else ""),
                f"{one.times.measured:,.0f}",
                f"{one.times.forecast:,.0f}",
                *(f"{error:+.1%}" for error in one.times.errors().values()),
            )
    console.print(table)
    table = Table(
        *("source", "rows", "polyrank", "at most", "constant share", "roofline"),
        title="Means of the errors' sizes, of times",
    )
    for mean in time_means(scored):
        sizes = [f"{mean[name]:.1%}" for name in ("polyrank", "most", "constant share", "roofline")]
        table.add_row(mean["source"], str(mean["rows"]), *sizes)
    console.print(table)


def time_means(scored: list[Scored]) -> list[dict[str, Any]]:
    """As means(), for times."""

    def errors_of(one: Scored) -> dict[str, float] | None:
        return None if one.times is None else one.times.errors()

    return [
        {"source": group, "rows": len(errors)}
        | sizes_of([error["polyrank"] for error in errors], "polyrank", "most")
        | {
            name: sum(abs(error[name]) for error in errors) / len(errors)
            for name in ("constant share", "roofline")
        }
        for group, errors in grouped(scored, errors_of).items()
    ]


def print_tables(scored: list[Scored], reasons: dict[str, list[str]]) -> None:
    """Rows, means, what fits, and what could not be rebuilt."""
    console = Console(width=180 if not sys.stdout.isatty() else None)
    table = Table(
        *("row", "source", "memory", "measured, GiB", "forecast, GiB", "error", "s"),
        title="Measured, and forecast",
    )
    for one in scored:
        table.add_row(*row_of(one))
    console.print(table)
    table = Table("source", "rows", "mean error", "at most", title="Means of the errors' sizes")
    for mean in means(scored):
        sizes = [f"{mean[name]:.1%}" for name in ("mean", "most")]
        table.add_row(mean["source"], str(mean["rows"]), *sizes)
    console.print(table)
    ran = [one for one in scored if not one.failure]
    right = sum(one.fits == one.has_fitted for one in ran)
    print_times(scored, console)
    console.print(f"does it fit: {right} of {len(ran)} right")
    table = Table("why", "rows", title="Rows that are not rebuilt")
    for reason, rows in reasons.items():
        table.add_row(reason, f"{len(rows)}: {', '.join(rows)}")
    console.print(table)


def main(
    only: Annotated[list[str] | None, typer.Option(help="A row; may be repeated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all there.")] = None,
) -> None:
    """Forecast what was measured."""
    clients = {
        client.name: client for client in read_clients(HERE.parents[1] / "clients/clients.toml")
    }
    reasons: dict[str, list[str]] = defaultdict(list)
    scored: list[Scored] = []
    for row in measured_runs():
        run = rebuilt(row)
        if isinstance(run, str):
            reasons[run].append(row["id"])
        elif not only or row["id"] in only:
            make_environment(clients[run.client])
            typer.echo(f"row {row['id']}: {row['model']} on {row['n_gpus']} GPUs …", err=True)
            scored.append(score(row, run, clients[run.client].python))
    print_tables(scored, reasons)
    if json_file is not None:
        document = {
            "rows": [
                asdict(one)
                | {"error": one.error}
                | ({} if one.times is None else {"time_errors": one.times.errors()})
                for one in scored
            ],
            "means": means(scored),
            "time_means": time_means(scored),
            "not_rebuilt": reasons,
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
