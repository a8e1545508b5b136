"""`polyrank check mutate`: which changes of a collective nobody notices."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from polyrank.divergence.mutate.campaign import Campaign, Limits
from polyrank.divergence.mutate.command import Command
from polyrank.divergence.mutate.mutants import mutants_of, sites_in
from polyrank.errors import UsageError

PROGRAM = """
import sys, time, torch, torch.distributed as dist
import torch.distributed._functional_collectives as functional
dist.init_process_group("gloo")
x = torch.ones(2) * (dist.get_rank() + 1)
dist.all_reduce(x)
assert (x == 10).all(), "the sum is wrong"
nobody_looks = torch.ones(2) * dist.get_rank()
dist.broadcast(nobody_looks, 1)
y = functional.all_reduce(x, "sum", dist.group.WORLD)
assert (y == 40).all(), "the second sum is wrong"
"""
SUM, BROADCAST, FUNCTIONAL = 6, 9, 10  # lines


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a föld"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def command(file: Path, text: str, world: str = "threads") -> Command:
    file.write_text(text)
    run = ("-m", "polyrank", "run", "--world", world, "--ranks", "4", str(file))
    return Command((sys.executable, *run))


def told(checked: Any) -> dict[tuple[str, int], str]:
    """Status by change and line."""
    return {(result.mutant.change, result.mutant.line): result.status for result in checked.results}


@pytest.mark.parametrize("world", ["threads", "lockstep", "processes"])
def test_who_looks_notices(folder: Path, world: str) -> None:
    checked = Campaign(command(folder / "a program.py", PROGRAM, world), "it").run()
    assert checked.ended.exit_code == 0, checked.ended.output
    assert told(checked) == {
        ("drop", SUM): "killed",
        ("double", SUM): "killed",
        ("move", SUM): "killed",
        ("drop", BROADCAST): "survived",
        ("move", BROADCAST): "survived",
        ("drop", FUNCTIONAL): "killed",
        ("double", FUNCTIONAL): "killed",
    }
    assert checked.exit_code == 113
    text = checked.text()
    assert "survived: broadcast of a program.py:9 in group world (ranks 0-3)" in text
    assert "launched by ranks 0-3: left out" in text
    assert "7 mutants of 3 collectives: 2 survived, 5 killed" in text
    (dropped,) = (
        one
        for one in checked.of("killed")
        if one.mutant.change == "drop" and one.mutant.line == SUM
    )
    assert dropped.to_dict()["operation"] == "all_reduce"
    assert dropped.to_dict()["operator"] == "c10d::allreduce_"


TESTS = """
import polyrank, torch, torch.distributed as dist

def summed():
    x = torch.ones(1) * (dist.get_rank() + 1)
    dist.all_reduce(x)
    return x

def test_in_lockstep():
    with polyrank.lockstep(2):
        assert (summed() == 3).all()

def test_on_threads():
    assert [int(x) for x in polyrank.run_ranks(summed, 2)] == [3, 3]
"""


def test_tests_are_run_and_results_kept(folder: Path) -> None:
    (folder / "test_of_it.py").write_text(TESTS)
    state = folder / "mutants.json"
    tests = f"{shlex.quote(sys.executable)} -m pytest -q -p no:cacheprovider test_of_it.py"
    arguments = [sys.executable, "-m", "polyrank", "check", "mutate", "--tests", tests]

    def check(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*arguments, "--json", str(state), *more], capture_output=True, text=True, check=False
        )

    ended = check("--limit", "1")
    assert ended.returncode == 0, ended.stderr
    assert "1 killed; 1 not run yet" in ended.stderr
    first = json.loads(state.read_text())
    assert (first["num_mutants"], first["num_left"]) == (2, 1)
    page = folder / "page.html"
    ended = check("--html", str(page))
    assert ended.returncode == 0, ended.stderr
    second = json.loads(state.read_text())
    assert second["results"][0] == first["results"][0]  # with its seconds: not run again
    assert [row["status"] for row in second["results"]] == ["killed", "killed"]
    assert "failed" in second["results"][1]["told"]
    assert "run twice" in page.read_text()
    assert "src=" not in page.read_text().partition("<body>")[2]
    # A test that asks for less: what was killed may live now.
    (folder / "test_of_it.py").write_text(
        TESTS.replace("== 3", ">= 3").replace("[3, 3]", "[3, 3] or 1")
    )
    ended = check()
    assert ended.returncode == 113, ended.stderr
    assert "2 mutants of 1 collectives: 1 survived, 1 killed" in ended.stderr


def test_a_command_that_fails_anyway_is_not_mutated(folder: Path) -> None:
    checked = Campaign(command(folder / "a.py", PROGRAM + "sys.exit(5)\n"), "it").run()
    assert (checked.exit_code, checked.results) == (5, [])
    assert "without a mutation it ends with exit code 5" in checked.text()


def test_nothing_to_mutate_is_told() -> None:
    checked = Campaign(Command((sys.executable, "-c", "print(1)")), "it").run()
    assert checked.exit_code == 2
    assert "launched no collective that polyrank saw" in checked.text()


def test_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="can't be run"):
        Campaign(Command(("/nowhere/at all",)), "it").run()


def test_what_takes_too_long_is_noticed(folder: Path) -> None:
    text = PROGRAM.replace(
        'assert (x == 10).all(), "the sum is wrong"',
        """
if not (x == 10).all():
    time.sleep(600)""",
    )
    limits = Limits(mutants=1, timeout_seconds=20)
    checked = Campaign(command(folder / "a.py", text), "it", limits=limits).run()
    assert told(checked) == {("drop", SUM): "timed out"}
    assert checked.exit_code == 0


def test_no_mutant_begins_after_the_time(folder: Path) -> None:
    checked = Campaign(command(folder / "a.py", PROGRAM), "it", limits=Limits(seconds=0.0)).run()
    assert checked.results == []
    assert "none was run; 7 not run yet" in checked.text()


def test_what_a_mutant_never_reaches_did_not_survive(folder: Path) -> None:
    text = (
        PROGRAM.replace(
            "dist.broadcast", 'if not __import__("pathlib").Path("ran").exists(): dist.broadcast'
        )
        + "open('ran', 'w')\n"
    )
    checked = Campaign(command(folder / "a.py", text), "it").run()
    assert told(checked)["drop", BROADCAST] == "not reached"
    assert "the command never came there" in checked.text()


def test_a_file_of_something_else_is_refused(folder: Path) -> None:
    state = folder / "mutants.json"
    state.write_text('{"schema_version": 1, "results": [], "campaign": {"command": ["other"]}}')
    with pytest.raises(UsageError, match="another campaign"):
        Campaign(Command(("true",)), "it", state).run()


def test_sites_are_joined_over_ranks(tmp_path: Path) -> None:
    def line(rank: int, members: str, **more: bool) -> str:
        site = {"operator": "c10d::allreduce_", "file": "/a.py", "line": 3, "group": "mesh_tp"}
        facts = {"kind": "all_reduce", "members": members, "ranks": str(rank)}
        can = {"can_double": True, "can_move": True}
        return json.dumps({**site, **(more or {**facts, **can})})

    log = tmp_path / "log"
    lines = [line(0, "0-1"), line(2, "2-3"), line(1, "0-1")]
    log.write_text("\n".join(lines))
    (site,) = sites_in(log)
    assert (site.members, site.ranks) == (["0-1", "2-3"], ["0", "2", "1"])
    assert [mutant.change for mutant in mutants_of([site])] == ["drop", "double"]
    log.write_text("\n".join([*lines, line(0, "", is_followed=True)]))
    assert [mutant.change for mutant in mutants_of(sites_in(log))] == ["drop", "double", "move"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--ranks", "2"], "either a script or --tests"),
        (["--ranks", "2", "--tests", "true", "a.py"], "either a script or --tests"),
        (["--ranks", "2", "nowhere.py"], "there is no script"),
        (["--tests", "true", "--json", "/nowhere/m.json"], "can't be written"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], says: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "polyrank", "check", "mutate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert ended.returncode == 2
    assert says in ended.stderr
