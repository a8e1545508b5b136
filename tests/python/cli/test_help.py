"""The help of the command line: what it says, how wide it is, and completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.cli.option_kinds import options_of
from polyrank.cli.run_command import run

COMMANDS = (
    "",
    "run",
    "forecast",
    "clusters",
    "sweep",
    "calibrate",
    "doctor",
    "check",
    "check agreement",
    "check reference",
    "check order",
    "check mutate",
)


def help_of(*arguments: str, flag: str = "--help") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", *arguments, flag],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"COLUMNS": "80", "TERMINAL_WIDTH": "80"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command: str) -> None:
    lines = help_of(*command.split())
    assert max(map(len, lines)) <= 80
    assert help_of(*command.split(), flag="-h") == lines


GROUPS = (
    "Lockstep and fake worlds",
    "Order of ranks (threads, processes)",
    "Output",
    "Threads world",
    "Start",
    "Processes world",
)


def test_the_help_of_run_is_a_page_that_names_what_it_leaves_out() -> None:
    lines = help_of("run")
    assert len(lines) <= 30
    words = " ".join("\n".join(lines).split())
    for option in ("--world", "--ranks", "--nproc-per-node", "--module", "--device", "--help-all"):
        assert f"│ {option} " in words
    assert f"With --help-all: {', '.join(GROUPS).lower()}; exit codes." in words
    assert "--hash-seeds" not in words


# With a group of options and an option that their short help leaves out.
LONG = (
    ("forecast", "Ranks that run", "--slow"),
    ("sweep", "Each forecast", "--steps"),
    ("check agreement", "Output", "--json"),
    ("check reference", "Output", "--html"),
    ("check order", "Orders of summation", "--channels"),
    ("check mutate", "How many run", "--timeout"),
)


@pytest.mark.parametrize(("command", "group", "option"), LONG)
def test_the_help_of_long_commands_is_a_page_with_examples(
    command: str, group: str, option: str
) -> None:
    lines = help_of(*command.split())
    assert len(lines) <= 30
    short = " ".join("\n".join(lines).split())
    assert f"• polyrank {command} " in short
    assert "With --help-all: what it does, " in short
    assert group.lower() in short
    assert f"│ {option} " not in short
    pages = help_of(*command.split(), flag="--help-all")
    whole = "\n".join(pages)
    assert f"─ {group} ─" in whole
    assert f"│ {option} " in whole
    assert "Exit codes" in whole
    assert max(map(len, pages)) <= 80


def test_a_pattern_in_the_help_keeps_its_asterisks() -> None:
    assert "*.experts.*" in "\n".join(help_of("check", "agreement"))


def test_help_all_of_run_shows_every_option_in_groups() -> None:
    lines = help_of("run", flag="--help-all")
    text = "\n".join(lines)
    for group in GROUPS:
        assert f"─ {group} ─" in text
    for option in options_of(run):
        assert f"│ --{option} " in text
    assert "Exit codes" in text
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 65


def test_help_all_is_no_setting() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", "run", "--ranks", "2", __file__],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"POLYRANK_RUN_HELP_ALL": "1"},
    )
    assert done.returncode == 2
    assert "POLYRANK_RUN_HELP_ALL: there is no such option" in done.stderr


def test_the_first_page_names_each_command_in_a_line() -> None:
    lines = help_of()
    assert len(lines) <= 30
    text = "\n".join(lines)
    for command in ("run", "check", "forecast", "sweep", "clusters", "calibrate", "doctor"):
        assert f"│ {command} " in text


def completed(words: str) -> str:
    command = Path(sys.executable).parent / "polyrank"
    variables = {
        "_POLYRANK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - (not words.endswith(" "))),
    }
    return subprocess.run(
        [command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | variables,
    ).stdout


def test_a_shell_completes_commands_options_and_worlds() -> None:
    assert "doctor" in completed("polyrank do").split()
    assert "--world" in completed("polyrank run --wo").split()
    assert "lockstep" in completed("polyrank run --world lo").split()
    assert "--show-completion" in "\n".join(help_of())
