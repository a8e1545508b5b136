"""Lockstep and threads refuse a Python that they were not tried with."""

import os
import subprocess
import sys

import pytest
from polyrank import UsageError, python_support

PROGRAM = """
import polyrank
from polyrank import python_support
python_support.TRIED = ((3, 2),)
try:
    {start}
except polyrank.UsageError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    ("world", "start"),
    [
        ("lockstep", "polyrank.lockstep(2).__enter__()"),
        ("lockstep", "polyrank.LocalTensorMode(2).__enter__()"),
        ("the threads world", "polyrank.run_ranks(lambda: 1, 2)"),
    ],
)
def test_the_world_is_not_entered(world: str, start: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(start=start)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={k: v for k, v in os.environ.items() if k != python_support.VARIABLE},
    )
    assert done.stdout.startswith(f"refused: {world} needs Python 3.2, and this is 3."), done.stderr


def test_ranks_that_are_processes_run_on_any(monkeypatch: pytest.MonkeyPatch) -> None:
    import polyrank

    monkeypatch.setattr(python_support, "TRIED", ((3, 2),))
    monkeypatch.delenv(python_support.VARIABLE, raising=False)
    assert polyrank.run_ranks(lambda: 1, 2, world="processes") == [1, 1]


def test_who_makes_another_one_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_support, "TRIED", ((3, 2),))
    monkeypatch.setenv(python_support.VARIABLE, "1")
    python_support.require_tried_python("lockstep")
    monkeypatch.setenv(python_support.VARIABLE, "0")
    with pytest.raises(UsageError, match=r"Take Python 3\.2"):
        python_support.require_tried_python("lockstep")
