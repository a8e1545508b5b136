"""The program of known results, in each world; and what is told of one that fails."""

from pathlib import Path

import pytest
from polyrank.doctor.self_tests import run_self_test
from polyrank.world import worlds


@pytest.mark.parametrize("world", [world.name for world in worlds()])
def test_each_world_computes_what_it_must(world: str) -> None:
    found = run_self_test("polyrank.doctor.program", world)
    assert found.passed, found.message
    assert found.message == ""


WRONG = """
import torch
import torch.distributed as dist
all_reduce = dist.all_reduce
def off_by_one(tensor):
    all_reduce(tensor)
    tensor += 1
dist.all_reduce = off_by_one
from polyrank.doctor.program import main
main()
"""


@pytest.mark.parametrize("world", ["lockstep", "processes"])
def test_a_wrong_value_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: str) -> None:
    (tmp_path / "wrong_by_one.py").write_text(WRONG)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run_self_test("wrong_by_one", world)
    assert not found.passed
    assert "exit code 1" in found.message
    assert "all_reduce gave" in found.message


def test_one_that_hangs_or_dies_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging_one.py").write_text("import time\nwhile True: time.sleep(1)\n")
    (tmp_path / "dying_one.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_self_test("hanging_one", "lockstep", seconds=6).message == (
        "it did not end within 6 s"
    )
    assert "exit code -9" in run_self_test("dying_one", "lockstep").message
