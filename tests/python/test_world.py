"""`polyrank.world`: the protocol of worlds, their registry, and which one is on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import RunningWorld, current_world, dist2
from polyrank.world import find_world, worlds
from polyrank.worlds.run_options import RunOptions

NAMES = [world.name for world in worlds()]


def test_each_world_says_what_it_is() -> None:
    assert len(set(NAMES)) == len(NAMES) and "threads" in NAMES
    # Names of command-line options, most of which are fields of the run's options, too.
    renamed = {"schedules": "num_schedules", "shared_module": "shared_modules"}
    renamed |= {"own_module": "own_modules", "verbose": "is_verbose"}
    renamed |= {"log_dir": "log_folder", "timeout": "timeout_seconds", "preload": "preloaded"}
    renamed |= {"hash_seeds": "num_hash_seeds"}
    fields = {field.name for field in dataclasses.fields(RunOptions)}
    for world in worlds():
        assert find_world(world.name) is world
        assert world.summary and not world.summary.endswith(".")
        assert {renamed.get(name, name) for name in world.takes} <= fields


def test_a_world_that_is_not_there() -> None:
    with pytest.raises(polyrank.UsageError, match="no world 'moon'; there are threads"):
        find_world("moon")


def test_a_block_leaves_the_hook_of_errors_as_it_was() -> None:
    before = sys.excepthook
    for _ in range(2):
        with polyrank.lockstep(2):
            pass
    assert sys.excepthook is before


def both_answers() -> tuple[RunningWorld | None, int, int]:
    """What current_world() says, and rank and size by dist2, which asks in C++."""
    group = dist2.new_group("gloo", timedelta(seconds=20), "cpu")
    return current_world(), group.rank(), group.size()


def test_the_answer_in_each_world_is_that_of_dist2() -> None:
    assert current_world() is None
    with polyrank.lockstep(3) as mode:
        on, rank, size = both_answers()
        assert (on, size) == (RunningWorld("lockstep", 3, None), 3)
        assert isinstance(rank, torch.SymInt)  # all of them
        with mode.disable():
            assert current_world() != RunningWorld("lockstep", 3, None)
    assert polyrank.run_ranks(both_answers, 2) == [
        (RunningWorld("threads", 2, rank), rank, 2) for rank in range(2)
    ]
    with polyrank.fake_world(5, rank=4) as world:
        assert both_answers() == (RunningWorld("fake", 5, 4), 4, 5)
        assert [current_world() for _ in world.as_ranks([1])] == [RunningWorld("fake", 5, 1)]
    assert current_world() is None


def test_the_answer_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert current_world() == RunningWorld("real", 8, 3)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert current_world() == RunningWorld("real", 1, 0)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_in_a_script(name: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, polyrank\nimport torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "on = polyrank.current_world()\n"
        "sys.stdout.write(f'{on.name} {on.size} {on.rank}\\n')\n"
    )
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", name, "--ranks", "2"]
    done = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    ranks = {"lockstep": ["None"], "fake": ["0"]}.get(name, ["0", "1"])
    lines = sorted(line.rpartition("]:")[2].strip() for line in done.stdout.splitlines())
    assert lines == [f"{name} 2 {rank}" for rank in ranks]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_called_on_each_rank(name: str) -> None:
    world = find_world(name)
    if name == "real":
        with pytest.raises(polyrank.UsageError, match="polyrank run --world real"):
            world.call(current_world, 2)
        return
    with world.surrounding(2):
        ranks = [on and on.rank for on in world.call(current_world, 2)]
    assert ranks == {"lockstep": [None], "fake": [0]}.get(name, [0, 1])
