"""What a script finds as `__main__` is what torchrun's processes find, in each world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = '''"""What it is for."""
names = sorted(name for name in globals() if name.startswith("__"))
import dataclasses, json, sys, torch, torch.distributed as dist

@dataclasses.dataclass
class Configuration:
    rate: float = 0.1

def annotate(number: int) -> "str": ...

local_rank = dist.get_node_local_rank()
dist.init_process_group("gloo")
sys.stdout.reconfigure(line_buffering=True)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))

def hook(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    done = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done

model.register_comm_hook(None, hook)
model(torch.ones(1, 2)).sum().backward()
found = {
    "names": names, "doc": __doc__, "name": __name__, "spec": str(__spec__), "package": __package__ or "",
    "types": [str(field.type) for field in dataclasses.fields(Configuration)],
    "annotations": str(annotate.__annotations__), "flags": annotate.__code__.co_flags,
    "hook": [sys.excepthook.__module__, sys.displayhook.__module__],
    "stdout": [sys.stdout.name, sys.stdout.mode, sys.stdout.encoding, sys.stdout.errors],
    "asks": [sys.stdout.writable(), sys.stdout.readable(), sys.stdout.line_buffering],
    "local": bool(local_rank == dist.get_rank()), "path": [place.replace(sys.argv[1].rpartition("/")[0], "the script's") for place in sys.path],
}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
'''
# What runpy leaves out, which runs the script of the worlds that have one program for all ranks.
OF_THE_INTERPRETER = {"__annotations__"}


def found_by(folder: Path, launcher: tuple[str, ...]) -> dict[str, Any]:
    """What the script finds under a launcher."""
    script, told = folder / "program.py", folder / "told.json"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(script), str(told)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(told.read_text())
    return found


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "1")
    return found_by(tmp_path_factory.mktemp("torchrun"), launcher)


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep", "fake"])
def test_is_what_torchrun_gives(world: str, tmp_path: Path, theirs: dict[str, Any]) -> None:
    ours = found_by(tmp_path, ("polyrank", "run", "--world", world, "--ranks", "1"))
    missing = set(theirs["names"]) - set(ours["names"])
    assert missing <= (OF_THE_INTERPRETER if world in ("lockstep", "fake") else set())
    assert ours | {"names": None} == theirs | {"names": None}
