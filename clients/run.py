"""Runs the libraries of clients.toml on polyrank and on gloo's processes, and compares.

Each client gets an environment in build/clients, on top of the one that runs this: what it
requires is installed there, except torch. `make clients CLIENTS_FLAGS="--only lightning"`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from client_list import HERE, WORLDS, Client, Program, make_environment, read_clients
from outcome import Outcome, reference_among, values_in
from rich.console import Console
from rich.table import Table

SECONDS = 600.0
RANKS_A_NODE = 8  # of many: a node has no more virtual GPUs than 120


def run(client: Client, program: Program, world: str) -> Outcome:
    """Run it; GPUs are virtual ones, except under torchrun, which has none.

    What it printed is kept in `outputs`, in the client's folder.
    """
    begun = time.monotonic()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE / "programs"),
        "PYTHONWARNINGS": "ignore",
        "PATH": f"{client.python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    started = subprocess.Popen(
        [str(client.python), "-m", *_start(program, world), *program.command(world)],
        env=environment,
        cwd=client.work_folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = started.communicate(timeout=SECONDS)
        code = started.returncode
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # the ranks, too
        output, code = started.communicate()[0], 124
    outputs = client.folder / "outputs"
    outputs.mkdir(exist_ok=True)
    (outputs / f"{program.name.replace(' ', '_')}.{world}.txt").write_text(output)
    values = values_in(output, program.reads)
    return Outcome(world, code, time.monotonic() - begun, output, values)


def _start(program: Program, world: str) -> list[str]:
    ranks = program.ranks_in(world)
    if world == "gloo":
        return ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    nodes = (
        ["--nproc-per-node", str(RANKS_A_NODE), "--nnodes", str(ranks // RANKS_A_NODE)]
        if ranks > RANKS_A_NODE
        else ["--ranks", str(ranks)]
    )
    return ["polyrank", "run", "--world", world, *nodes]


def run_client(
    client: Client, worlds: tuple[str, ...], console: Console, table: Table
) -> list[Any]:
    """Run its programs; a record of each in each world, and a row of each."""
    with console.status(f"installing {', '.join(client.requirements)}"):
        make_environment(client)
    shutil.rmtree(client.work_folder / "outputs", ignore_errors=True)
    records: list[Any] = []
    for program in client.programs:
        outcomes: dict[str, Outcome] = {}
        for world in program.runs_in:
            if world in worlds:
                with console.status(f"{client.name}: {program.name} in {world}"):
                    outcomes[world] = run(client, program, world)
        table.add_row(*_row(client, program, outcomes))
        reference = reference_among(outcomes)
        for world, outcome in outcomes.items():
            is_right = outcome.is_right(program, reference)
            records.append(_record(client, program, outcome, reference) | {"is_right": is_right})
            if not is_right:
                console.print(f"[bold]{client.name}: {program.name} in {world}[/]")
                console.print(outcome.output[-3000:], markup=False, highlight=False)
    return records


def _row(client: Client, program: Program, outcomes: Mapping[str, Outcome]) -> list[str]:
    reference = reference_among(outcomes)
    cells = []
    for world in WORLDS:
        outcome = outcomes.get(world)
        if outcome is None:
            cells.append("-")
            continue
        told = f"{outcome.word(program, reference)}, {outcome.seconds:.0f} s"
        cells.append(told if outcome.is_right(program, reference) else f"[red]{told}[/]")
    return [client.name, program.name, str(program.ranks), *cells]


def _record(
    client: Client, program: Program, outcome: Outcome, reference: Outcome | None
) -> dict[str, Any]:
    return {
        "client": client.name,
        "program": program.name,
        "world": outcome.world,
        "ranks": program.ranks_in(outcome.world),
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 1),
        "what": outcome.word(program, reference),
        "values": outcome.values,
    }


def main(
    only: Annotated[list[str] | None, typer.Option(help="A client; may be repeated.")] = None,
    world: Annotated[list[str] | None, typer.Option(help="A world; may be repeated.")] = None,
    program: Annotated[str, typer.Option(help="Programs with this in their name alone.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all outcomes.")] = None,
) -> None:
    """Run all clients, and print what became of each program in each world."""
    clients = read_clients(HERE / "clients.toml")
    _check("client", only, [client.name for client in clients])
    _check("world", world, WORLDS)
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table("client", "program", "ranks", *WORLDS, title="Libraries, unchanged")
    records: list[dict[str, Any]] = []
    for client in clients:
        if only and client.name not in only:
            continue
        chosen = tuple(one for one in client.programs if program in one.name)
        if chosen:
            narrowed = Client(**{**vars(client), "programs": chosen})
            records += run_client(narrowed, tuple(world or WORLDS), console, table)
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(records, indent=1) + "\n")
    raise typer.Exit(0 if records and all(record["is_right"] for record in records) else 1)


def _check(kind: str, given: list[str] | None, known: Any) -> None:
    if unknown := set(given or ()) - set(known):
        raise typer.BadParameter(f"no {kind} {', '.join(sorted(unknown))}; there are {known}")


if __name__ == "__main__":
    typer.run(main)
