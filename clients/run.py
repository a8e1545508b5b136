"""Runs the libraries of clients.toml on polyrank and on gloo's processes, and compares.

Each client gets an environment in build/clients, on top of the one that runs this: what it
requires is installed there, except torch. `make clients CLIENTS_FLAGS="--only lightning"`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / "build" / "clients"
WORLDS = ("gloo", "processes", "threads")  # "gloo": torchrun, the values that all others must have
SECONDS = 600


@dataclass(frozen=True)
class Program:
    """One program of a client, as clients.toml has it."""

    module: str = ""  # of the library's own, or
    file: str = ""  # of programs/
    ranks: int = 2
    without: tuple[str, ...] = ()  # worlds that do not run it
    why: str = ""

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2] or self.file

    @property
    def command(self) -> list[str]:
        return ["-m", self.module] if self.module else [str(HERE / "programs" / self.file)]

    @property
    def runs_in(self) -> tuple[str, ...]:
        return tuple(world for world in WORLDS if world not in self.without)


@dataclass(frozen=True)
class Client:
    """A library, at exact versions."""

    name: str
    requirements: tuple[str, ...]
    bare: tuple[str, ...]  # installed without what they require
    programs: tuple[Program, ...]

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python"


@dataclass
class Outcome:
    """How a program ended in a world."""

    exit_code: int
    seconds: float
    output: str
    values: list[str] = field(default_factory=list)  # a line of a rank each, ordered

    def told(self, expected: Outcome | None) -> str:
        """What the table says."""
        seconds = f"{self.seconds:.0f} s"
        if self.exit_code:
            return f"[red]exit code {self.exit_code}[/], {seconds}"
        if expected is None or expected is self or expected.exit_code:
            return f"ran, {seconds}"
        if not expected.values:
            return f"passes, {seconds}"
        same = self.values == expected.values
        return f"{'same digits' if same else '[red]other digits[/]'}, {seconds}"

    def is_right(self, expected: Outcome | None) -> bool:
        return self.exit_code == 0 and "other digits" not in self.told(expected)


def read_clients(path: Path) -> list[Client]:
    """The clients of a file.

    Raises:
        typer.BadParameter: it has a key that there is not.
    """
    clients = []
    for table in tomllib.loads(path.read_text())["client"]:
        try:
            programs = tuple(
                Program(**{k: tuple(v) if isinstance(v, list) else v for k, v in program.items()})
                for program in table["programs"]
            )
        except TypeError as error:
            raise typer.BadParameter(f"{path.name}, {table['name']}: {error}") from error
        bare = tuple(table.get("bare", ()))
        clients.append(Client(table["name"], tuple(table["requirements"]), bare, programs))
    return clients


def make_environment(client: Client) -> None:
    """An environment with what the client requires, as it was required last time or anew."""
    folder = ENVIRONMENTS / client.name
    stamp = folder / "requirements.txt"
    wanted = "\n".join([*client.requirements, *client.bare, f"torch=={torch.__version__}"]) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(folder, clear=True, with_pip=True)
    packages = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (packages / "polyrank_and_torch.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    constraint = folder / "constraint.txt"
    constraint.write_text(f"torch=={torch.__version__}\n")
    pip = [str(client.python), "-m", "pip", "install", "--quiet", "-c", str(constraint)]
    subprocess.run([*pip, *client.requirements], check=True)
    if client.bare:
        subprocess.run([*pip, "--no-deps", *client.bare], check=True)
    stamp.write_text(wanted)


def run(client: Client, program: Program, world: str) -> Outcome:
    """Run it; GPUs are virtual ones, except under torchrun, which has none."""
    start = (
        ["torch.distributed.run", "--standalone", "--nproc-per-node", str(program.ranks)]
        if world == "gloo"
        else ["polyrank", "run", "--ranks", str(program.ranks), "--world", world]
    )
    begun = time.monotonic()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE / "programs"),
        "PYTHONWARNINGS": "ignore",
    }
    try:
        done = subprocess.run(
            [str(client.python), "-m", *start, *program.command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        code, output = 124, (expired.stdout or b"").decode()
    outcome = Outcome(code, time.monotonic() - begun, output)
    found = [line.partition("RES ")[2] for line in output.splitlines() if "RES {" in line]
    outcome.values = sorted(json.dumps(json.loads(one), sort_keys=True) for one in found)
    return outcome


def main(
    only: Annotated[list[str] | None, typer.Option(help="A client; may be repeated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all outcomes.")] = None,
) -> None:
    """Run all clients, and print what became of each program in each world."""
    clients = read_clients(HERE / "clients.toml")
    names = [client.name for client in clients]
    if unknown := set(only or ()) - set(names):
        raise typer.BadParameter(f"no client {', '.join(sorted(unknown))}; there are {names}")
    console = Console()
    table = Table("client", "program", "ranks", *WORLDS, title="Libraries, unchanged")
    records: list[dict[str, Any]] = []
    is_right = True
    for client in clients:
        if not client.programs or (only and client.name not in only):
            continue
        with console.status(f"installing {', '.join(client.requirements)}"):
            make_environment(client)
        for program in client.programs:
            outcomes: dict[str, Outcome] = {}
            for world in program.runs_in:
                with console.status(f"{client.name}: {program.name} in {world}"):
                    outcomes[world] = run(client, program, world)
            expected = outcomes.get("gloo", next(iter(outcomes.values())))
            told = {world: outcome.told(expected) for world, outcome in outcomes.items()}
            cells = [told.get(world, "-") for world in WORLDS]
            table.add_row(client.name, program.name, str(program.ranks), *cells)
            for world, outcome in outcomes.items():
                records.append(
                    {
                        "client": client.name,
                        "program": program.name,
                        "world": world,
                        "exit_code": outcome.exit_code,
                        "seconds": round(outcome.seconds, 1),
                        "same": outcome.values == expected.values,
                    }
                )
                if not outcome.is_right(expected):
                    is_right = is_right and world == "gloo"
                    console.print(f"[bold]{client.name}: {program.name} in {world}[/]")
                    console.print(outcome.output[-3000:], markup=False, highlight=False)
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(records, indent=1) + "\n")
    raise typer.Exit(0 if is_right else 1)


if __name__ == "__main__":
    typer.run(main)
