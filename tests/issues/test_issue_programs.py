"""Small programs, each of a kind that was wrong once: every world gives what gloo's processes give.

A program is an ordinary script that calls `report`. It is started here by `polyrank run`, and by
`gloo_processes.py`, whose ranks run all of them one after another.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

FOLDER = Path(__file__).parent
WORLD_SIZE = 4
# Programs of functions that not every supported torch has, and whether this one has them.
NEEDED = {"gathered_into_one_tensor": hasattr(dist, "gather_single")}
NAMES = sorted(
    path.stem for path in (FOLDER / "programs").glob("*.py") if NEEDED.get(path.stem, True)
)
# Programs that not all worlds run (lockstep takes no branch on the rank, threads share one profiler),
# and which do. Processes run all.
WORLDS: dict[str, tuple[str, ...]] = {
    "plans_of_each_rank": ("threads",),
    "sparse_gradients": ("threads",),
    "children_of_ranks": ("threads",),
    "process_state": (),
    "state_of_each_rank": ("threads",),
    "threads_of_a_rank": ("threads",),
    "counting_on_stores": ("lockstep", "threads"),
    "fsdp_of_uneven_shards": ("lockstep", "threads"),
    "store_of_its_own": ("lockstep", "threads"),
}
RUNS = [
    (name, world)
    for name in NAMES
    for world in (*WORLDS.get(name, ("lockstep", "threads")), "processes")
]


@pytest.fixture(scope="session")
def gloo_reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the processes of gloo reported, a file a program."""
    folder = tmp_path_factory.mktemp("gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (sys.executable, str(FOLDER / "gloo_processes.py"))
    ranks = [
        subprocess.Popen([*command, str(rank), str(WORLD_SIZE), str(port), str(folder), *NAMES])
        for rank in range(WORLD_SIZE)
    ]
    try:
        for rank in ranks:
            rank.wait(timeout=300)
    finally:
        for rank in ranks:
            rank.kill()
    return folder


def reported(program: str, world: str, folder: Path) -> Any:
    """What each rank of a program reported in a world of ours."""
    file = folder / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "polyrank.cli", "run"),
            *("--world", world, "--ranks", str(WORLD_SIZE)),
            str(FOLDER / "programs" / f"{program}.py"),
        ],
        env={**os.environ, "REPORT_FILE": str(file), "PYTHONPATH": str(FOLDER)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.mark.parametrize(("program", "world"), RUNS)
def test_each_rank_gets_what_gloo_gives(
    program: str, world: str, gloo_reports: Path, tmp_path: Path
) -> None:
    of_gloo = gloo_reports / f"{program}.json"
    assert of_gloo.exists(), "gloo's processes failed; what they said is above"
    expected = json.loads(of_gloo.read_text())
    found = reported(program, world, tmp_path)
    differing = [
        f"rank {rank}: {name} is {found[rank].get(name)}, on gloo {of_gloo}"
        for rank, values in enumerate(expected)
        for name, of_gloo in values.items()
        # By their text: it knows NaN as itself, and tells ints from floats.
        if repr(found[rank].get(name)) != repr(of_gloo)
    ]
    assert not differing, "\n".join(differing)
