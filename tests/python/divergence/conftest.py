"""The programs of tests/divergence_programs, and what is found in them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "divergence_programs"
NUM_RANKS = 4
_MARK = "# fault: "
_THREADS_ONLY = "# Only for ranks on their own"


@dataclass(frozen=True)
class Program:
    """A program with one fault, and its twin without: `program.py right`."""

    file: Path
    line: int  # where the fault is to be found
    operation: str
    worlds: tuple[str, ...]

    @staticmethod
    def read(file: Path) -> Program:
        lines = file.read_text().splitlines()
        [(number, line)] = [(i, line) for i, line in enumerate(lines, 1) if _MARK in line]
        branches = any(line.startswith(_THREADS_ONLY) for line in lines)
        worlds = ("threads",) if branches else ("threads", "lockstep")
        return Program(file, number, line.partition(_MARK)[2], worlds)


PROGRAMS = [Program.read(file) for file in sorted(FOLDER.glob("*.py"))]


@pytest.fixture(scope="session")
def checked() -> dict[tuple[str, str, str], dict[str, Any]]:
    """What the check says, by world, program and argument."""
    found = {}
    for world in ("threads", "lockstep"):
        programs = [
            f"{program.file}:{argument}"
            for program in PROGRAMS
            if world in program.worlds
            for argument in ("wrong", "right")
        ]
        command = [
            sys.executable,
            str(Path(__file__).with_name("run_programs.py")),
            world,
            str(NUM_RANKS),
            *programs,
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert ended.returncode == 0, ended.stderr
        for line in ended.stdout.splitlines():
            if line.startswith('{"program"'):
                told = json.loads(line)
                file, _, argument = told["program"].rpartition(":")
                found[world, Path(file).stem, argument] = told
    return found
