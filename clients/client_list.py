"""The clients of clients.toml, and the environment that each has."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import typer

__all__ = ["REFERENCES", "WORLDS", "Client", "Program", "make_environment", "read_clients"]

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / "build" / "clients"
# "gloo" is torchrun, on the CPU; "real" is gloo's processes on virtual GPUs. The first of them that
# runs a program has the values that all others must have.
REFERENCES = ("gloo", "real")
WORLDS = (*REFERENCES, "processes", "threads", "lockstep", "fake")


# Keys that a client may have in its programs' stead.
COMMON = ("file", "reads", "fake_ranks")


@dataclass(frozen=True)
class Program:
    """One program of a client, as clients.toml has it."""

    module: str = ""  # of the library's own, or
    file: str = ""  # of programs/
    arguments: tuple[str, ...] = ()
    label: str = ""  # what to call it where the file's name does not tell
    ranks: int = 2
    fake_ranks: int = 4096
    lockstep_ranks: int = 0  # 0: as in the other worlds
    # What a world says that does not run it. It must still say so.
    stops: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()  # worlds in which it is not run: docs/clients.md says why
    reads: str = ""  # the values that it prints: a group each; else lines `RES {json}`

    @property
    def name(self) -> str:
        return self.label or self.module.rpartition(".")[2] or self.file

    def command(self, world: str) -> list[str]:
        """Module or file, and its arguments, in which `{world}` is the world's name."""
        start = ["-m", self.module] if self.module else [str(HERE / "programs" / self.file)]
        return [*start, *(one.replace("{world}", world) for one in self.arguments)]

    @property
    def runs_in(self) -> tuple[str, ...]:
        return tuple(world for world in WORLDS if world not in self.without)

    def ranks_in(self, world: str) -> int:
        if world == "fake":
            return self.fake_ranks
        return self.lockstep_ranks or self.ranks if world == "lockstep" else self.ranks


@dataclass(frozen=True)
class Client:
    """A library, at exact versions."""

    name: str
    requirements: tuple[str, ...]
    bare: tuple[str, ...]  # installed without what they require
    prepares: str  # a file of programs/ that is run once in the folder of the programs
    programs: tuple[Program, ...]

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def work_folder(self) -> Path:
        """Where its programs run, and write to `outputs`."""
        return self.folder / "work"


def read_clients(path: Path) -> list[Client]:
    """The clients of a file.

    Raises:
        typer.BadParameter: it has a key, a world or an expression that there is not.
    """
    clients = []
    for table in tomllib.loads(path.read_text())["client"]:
        try:
            programs = tuple(_program(table, program) for program in table["programs"])
        except (TypeError, ValueError, re.error) as error:
            raise typer.BadParameter(f"{path.name}, {table['name']}: {error}") from error
        clients.append(
            Client(
                table["name"],
                tuple(table["requirements"]),
                tuple(table.get("bare", ())),
                table.get("prepares", ""),
                programs,
            )
        )
    return clients


def _program(client: Mapping[str, Any], table: Mapping[str, Any]) -> Program:
    """A program of a client, which says of all its programs what they have in common."""
    common = {key: client[key] for key in COMMON if key in client}
    arguments = (*client.get("arguments", ()), *table.get("arguments", ()))
    lists = {key: tuple(one) for key, one in table.items() if isinstance(one, list)}
    program = Program(**{**common, **table, **lists, "arguments": arguments})
    if unknown := {*program.stops, *program.without} - set(WORLDS):
        raise ValueError(
            f"{program.name}: no world {', '.join(sorted(unknown))}; there are {WORLDS}"
        )
    re.compile(program.reads)
    return program


def make_environment(client: Client) -> None:
    """An environment with what the client requires, as it was required last time or anew."""
    stamp = client.folder / "requirements.txt"
    wanted = "\n".join([*client.requirements, *client.bare, f"torch=={torch.__version__}"]) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(client.folder, clear=True, with_pip=True)
    packages = client.folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (packages / "polyrank_and_torch.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    constraint = client.folder / "constraint.txt"
    constraint.write_text(f"torch=={torch.__version__}\n")
    pip = [str(client.python), "-m", "pip", "install", "--quiet", "-c", str(constraint)]
    subprocess.run([*pip, *client.requirements], check=True)
    if client.bare:
        subprocess.run([*pip, "--no-deps", *client.bare], check=True)
    client.work_folder.mkdir()
    if client.prepares:
        prepare = [str(client.python), str(HERE / "programs" / client.prepares)]
        subprocess.run(prepare, check=True, cwd=client.work_folder)
    stamp.write_text(wanted)
