"""`polyrank run`: the variables that torchrun sets are there in every world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

READING = """
import json, os, sys, uuid
names = [name for name in os.environ if name.startswith(("TORCHELASTIC", "ROLE_", "GROUP_", "LOCAL_", "TORCH_NCCL"))]
names += [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS") if name in os.environ]
with open(f"{sys.argv[1]}/{uuid.uuid4()}.json", "w") as file:
    json.dump({name: str(os.environ[name]) for name in names}, file)
"""


def variables(command: list[str], folder: Path) -> list[dict[str, str]]:
    """What each rank sees, in any order."""
    script = folder / "reading.py"
    script.write_text(READING)
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    subprocess.run(
        [sys.executable, "-m", *command, str(script), str(folder)],
        capture_output=True,
        check=True,
        env=inherited,
        timeout=120,
    )
    return [json.loads(file.read_text()) for file in folder.glob("*.json")]


@pytest.fixture(scope="module")
def of_torchrun(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return variables(command, tmp_path_factory.mktemp("torchrun"))


@pytest.mark.parametrize("world", ["processes", "threads", "fake", "lockstep"])
def test_they_are_torchruns(world: str, of_torchrun: list[dict[str, str]], tmp_path: Path) -> None:
    seen = variables(["polyrank", "run", "--world", world, "--ranks", "2"], tmp_path)
    own = {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"}
    # Threads and lockstep leave no file of a rank's error; there is no agent whose store could be used.
    own |= {"TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_USE_AGENT_STORE"}
    assert len(of_torchrun) == 2
    assert len(seen) == (2 if world in {"processes", "threads"} else 1)
    for of_rank in seen:
        rank = of_rank["RANK"]
        peers = [peer for peer in of_torchrun if peer["RANK"] == rank] or of_torchrun
        # The agent's own: which signals it hands on.
        names = set(peers[0]) - {"TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_SIGNALS_TO_HANDLE"}
        assert names <= set(of_rank)
        differing = {name for name in names - own if of_rank[name] != peers[0][name]}
        assert differing <= ({"RANK", "LOCAL_RANK", "ROLE_RANK"} if world == "lockstep" else set())
