"""Options from the environment and from files: which count, and what is refused, with where it came from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from polyrank.cli import check, run_command  # noqa: F401  they add their commands to `app`
from polyrank.cli.app import app
from polyrank.cli.settings import defaults, find_file


def of(folder: Path, command: str = "run", **variables: str) -> dict[str, Any]:
    return defaults(app, command, find_file(folder), variables)


def written(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_values_come_in_the_form_that_each_option_has(tmp_path: Path) -> None:
    written(
        tmp_path,
        "[tool.polyrank.run]\nranks = 8\ntimeout = 60\nlog_dir = 'logs'\npreload = ['numpy', 'json']\n"
        "verbose = true\nworld = 'threads'\nschedule = 'random'\njson = 'out.json'\n"
        "[tool.polyrank.check.agreement]\nranks = 4\n",
    )
    assert of(tmp_path)["run"] == {
        "ranks": 8,
        "timeout": 60,
        "log_dir": str(tmp_path / "logs"),  # beside the file that names it
        "preload": ["numpy", "json"],
        "verbose": True,
        "world": "threads",
        "schedule": "random",
        "json_file": str(tmp_path / "out.json"),
    }
    assert of(tmp_path, "check")["check"]["agreement"] == {"ranks": 4}


def test_the_nearest_file_counts_and_the_environment_more(tmp_path: Path) -> None:
    written(tmp_path, "[tool.polyrank.run]\nranks = 8\nseed = 1\n")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    written(inner.parent, "[tool.ruff]\n")  # has none of ours
    assert of(inner)["run"] == {"ranks": 8, "seed": 1}
    variables = {"POLYRANK_RUN_RANKS": "3", "POLYRANK_RUN_PRELOAD": "a b", "POLYRANK_SWEEP": "1"}
    assert of(inner, **variables)["run"] == {"ranks": 3, "seed": 1, "preload": ["a", "b"]}
    written(inner, "[run]\nranks = 2\n", "polyrank.toml")
    assert of(inner)["run"] == {"ranks": 2}
    assert of(inner, POLYRANK_RUN_VERBOSE="off", POLYRANK_RUN_RANKS="")["run"] == {
        "ranks": 2,
        "verbose": False,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ranks = '8'", "[tool.polyrank.run] ranks: '8' is not a whole number"),
        ("ranks = true", "[tool.polyrank.run] ranks: True is not a whole number"),
        ("ranks = 0", "[tool.polyrank.run] ranks: '0' is no number from 1 to 1,048,576"),
        ("rnaks = 8", "[tool.polyrank.run]: there is no option 'rnaks'; did you mean ranks?"),
        ("script = 'x'", "[tool.polyrank.run]: there is no option 'script'"),
        ("timeout = -1", "[tool.polyrank.run] timeout: -1 is less than 0"),
        ("preload = 'numpy'", "preload: 'numpy' is no list; it must be a list of texts"),
        ("preload = [1]", "preload: 1 is not text; it must be a list of texts"),
        ("schedule = 'randm'", "'randm' is not one of in_turn, random; did you mean random?"),
        ("world = 'lockstp'", "there is no world 'lockstp'; did you mean lockstep?"),
        ("verbose = 'yes'", "verbose: 'yes' is not true or false"),
        ("[tool.polyrank.runn]", "[tool.polyrank]: there is no command 'runn'; did you mean run?"),
        ("ranks = ", "it can't be read: Invalid value"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_error_that_says_where(
    tmp_path: Path, text: str, message: str
) -> None:
    written(tmp_path, f"[tool.polyrank.run]\n{text}\n")
    with pytest.raises(typer.BadParameter) as error:
        of(tmp_path)
    told = f"{error.value.param_hint}: {error.value.message}"
    assert told.startswith(f"{tmp_path / 'pyproject.toml'}: ")
    assert message in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run = 3", "[tool.polyrank.run]: it must be a table of options"),
        ("check.agrement.ranks = 3", "there is no command 'agrement'; did you mean agreement?"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, text: str, message: str) -> None:
    written(tmp_path, f"[tool.polyrank]\n{text}\n")
    with pytest.raises(typer.BadParameter) as error:
        of(tmp_path, "check" if "check" in text else "run")
    assert message in f"{error.value.param_hint}: {error.value.message}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("POLYRANK_RUN_RANKS", "many", "'many' is not a whole number"),
        ("POLYRANK_RUN_RANKZ", "3", "there is no such option; did you mean POLYRANK_RUN_RANK?"),
        ("POLYRANK_RUN_VERBOSE", "maybe", "'maybe' is not one of 1, true"),
        ("POLYRANK_RUN_DEVICE", "cudda", "did you mean cuda?"),
        ("POLYRANK_RUN_TIMEOUT", "-3", "-3.0 is less than 0"),
    ],
)
def test_what_is_wrong_in_the_environment_names_the_variable(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(typer.BadParameter) as error:
        of(tmp_path, **{name: value})
    assert error.value.param_hint == name
    assert message in error.value.message


SCRIPT = (
    "import torch.distributed as dist\ndist.init_process_group()\nprint(dist.get_world_size())\n"
)


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "polyrank", "run", *arguments, "script.py"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_what_is_typed_counts_most_and_worlds_leave_what_is_not_theirs(tmp_path: Path) -> None:
    written(
        tmp_path,
        "[tool.polyrank.run]\nranks = 3\nworld = 'lockstep'\ntimeout = 50\nseed = 4\n",
    )
    done = ran(tmp_path)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    done = ran(tmp_path, "--ranks", "2")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    done = ran(tmp_path, "--nproc-per-node", "5")
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    done = ran(tmp_path, "--timeout", "3")
    assert done.returncode == 2
    assert "is for --world processes" in done.stderr
