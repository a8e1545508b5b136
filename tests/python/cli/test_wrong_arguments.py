"""What wrong arguments are answered with: soon, and in lines that can be copied."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WRONG = {
    "rnu": "No such command 'rnu'. Did you mean 'run'?",
    "run --rnaks 2 x.py": "No such option: --rnaks",
    "run --ranks two x.py": "'two' is no number from 1 to 1,048,576",
    "run --ranks 2 --world lokstep x.py": "lokstep",
    "run --ranks": "'--ranks' requires an argument",
    "run --ranks 2 test_wrong_argument.py": "did you mean 'test_wrong_arguments.py'?",
    "check agrement": "No such command 'agrement'. Did you mean 'agreement'?",
    "doctor --json": "'--json' requires an argument",
}


def polyrank(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "polyrank", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"COLUMNS": "80"} | variables,
        cwd=Path(__file__).parent,
    )


@pytest.mark.parametrize("arguments", WRONG)
def test_a_wrong_argument_is_told_without_what_takes_long_to_load(arguments: str) -> None:
    done = polyrank(*arguments.split())
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}
    said = [line for line in lines if not line.startswith("import time")]
    assert done.returncode == 2
    assert said[-1].startswith("Error: ")
    assert WRONG[arguments] in said[-1]
    assert not imported & {"torch", "numpy", "rich", "polyrank._C"}


def test_a_script_in_the_place_of_a_command_is_told_how_to_run() -> None:
    assert polyrank("test_help.py").stderr.endswith("polyrank run --ranks N test_help.py\n")


def test_no_argument_gives_the_help_once() -> None:
    done = polyrank()
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert "\n".join([done.stdout, *told]).count("Usage: ") == 1
