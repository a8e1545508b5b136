"""The programs of tests/divergence_programs, and what is found in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from polyrank.worlds.run_options import RunOptions

FOLDER = Path(__file__).resolve().parents[2] / "divergence_programs"
NUM_RANKS = 4
_MARK = "# fault: "
_THREADS_ONLY = "# Only for ranks on their own"


@dataclass(frozen=True)
class Program:
    """A program with one fault, and its twin without: `program.py right`."""

    file: Path
    line: int  # where the fault is to be found; 0: there is none
    operation: str
    worlds: tuple[str, ...]

    @staticmethod
    def read(file: Path) -> Program:
        lines = file.read_text().splitlines()
        marked = [(i, line) for i, line in enumerate(lines, 1) if _MARK in line]
        number, line = marked[0] if marked else (0, "")
        assert len(marked) <= 1
        branches = any(line.startswith(_THREADS_ONLY) for line in lines)
        worlds = ("threads",) if branches else ("threads", "lockstep")
        return Program(file, number, line.partition(_MARK)[2], worlds)

    def options(self, world: str, argument: str, num_ranks: int = NUM_RANKS) -> RunOptions:
        """To run it, with "wrong" or "right" for an argument."""
        return RunOptions(
            script=str(self.file),
            arguments=(argument,),
            is_module=False,
            world=world,
            world_size=num_ranks,
            local_world_size=num_ranks,
            device=None,
            json_file=None,
        )


def _programs(check: str) -> list[Program]:
    programs = [Program.read(file) for file in sorted((FOLDER / check).glob("*.py"))]
    return [program for program in programs if bool(program.line) == (check != "right")]


SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"

AGREEMENT = _programs("agreement")
REFERENCE = _programs("reference")
WITHOUT_FAULT = _programs("right")  # what looks like a fault, and is none


def cases(programs: list[Program]) -> pytest.MarkDecorator:
    """Each of the programs in one of its worlds, these in turn; POLYRANK_SWEEP=1: in each."""
    return pytest.mark.parametrize(
        ("program", "world"),
        [
            pytest.param(program, world, id=f"{program.file.stem}-{world}")
            for number, program in enumerate(programs)
            for world in _worlds_of(program, number)
        ],
    )


def _worlds_of(program: Program, number: int) -> list[str]:
    worlds = list(program.worlds)
    return worlds if SWEEP else [worlds[number % len(worlds)]]
