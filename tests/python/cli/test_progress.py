"""The line that says how far a run is: what it says, in a terminal alone."""

import dataclasses
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from polyrank.any_world.progress import RanksNow, tells_of_ranks
from polyrank.cli.progress import Progress
from polyrank.worlds.run_options import RunOptions
from torch_builds import needs_cpu_build

OPTIONS = RunOptions(
    script="train.py",
    arguments=(),
    is_module=False,
    world="threads",
    world_size=8,
    local_world_size=8,
    device=None,
    json_file=None,
)


def line() -> str:
    shown = Progress(OPTIONS)
    shown._now._started -= 3.2
    return str(shown.__rich__())


def test_it_says_what_runs_and_for_how_long() -> None:
    assert line().startswith("train.py on 8 ranks  3 s")
    assert "alive" not in line()


def test_one_rank_is_told_as_one() -> None:
    shown = Progress(dataclasses.replace(OPTIONS, world_size=1))
    assert str(shown.__rich__()).startswith("train.py on 1 rank  0 s")


def test_it_says_who_is_alive_and_who_waits_for_what() -> None:
    standing = (
        "  ranks 0-2 wait in all_reduce(sum) float32[4] for rank 3\n"
        "  rank 4 waits in recv for rank 5\n  rank 3 runs\n"
    )
    with tells_of_ranks(lambda: RanksNow(7, standing)):
        assert line().endswith(
            "7 alive  ranks 0-2 wait in all_reduce(sum) float32[4] for rank 3  and 1 more wait"
        )
    assert "alive" not in line()


SCRIPT = """
import time
import torch, torch.distributed as dist
dist.init_process_group()
if dist.get_rank() == 1:
    time.sleep(2.5)
dist.all_reduce(torch.ones(3))
print("done")
"""


STEPS = """
import time
import torch
model = torch.nn.Linear(2, 2, device="cuda")
optimizer = torch.optim.SGD(model.parameters())
for _ in range(2):
    model(torch.ones(2, device="cuda")).sum().backward()
    optimizer.step()
time.sleep(2.5)
"""


def errors_of(folder: Path, *arguments: str, in_terminal: bool, script: str = SCRIPT) -> str:
    """What `polyrank` with those arguments, and the script, writes to standard error."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "polyrank", *arguments, "--ranks", "2"]
    ours, theirs = pty.openpty() if in_terminal else os.pipe()
    done = subprocess.Popen(
        [*command, str(folder / "script.py")],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "300", "TERM": "xterm"},
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # a terminal whose other end is closed
            break
        if not more:
            break
        text += more
    os.close(ours)
    assert done.wait() == 0, text
    return text.decode()


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_a_terminal_shows_it_and_a_pipe_does_not(tmp_path: Path, world: str) -> None:
    shown = errors_of(tmp_path, "run", "--world", world, in_terminal=True)
    assert "script.py on 2 ranks" in shown
    assert "2 alive" in shown
    assert "rank 0 waits in all_reduce" in shown
    assert "alive" not in errors_of(tmp_path, "run", "--world", world, in_terminal=False)


@needs_cpu_build
def test_a_forecast_says_how_many_steps_were_made(tmp_path: Path) -> None:
    shown = errors_of(tmp_path, "forecast", in_terminal=True, script=STEPS)
    assert "script.py on rank 0 of 2 ranks" in shown
    assert "2 optimizer steps" in shown
    assert "script.py on" not in errors_of(tmp_path, "forecast", in_terminal=False, script=STEPS)
