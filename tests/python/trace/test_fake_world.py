"""`polyrank.trace()` in polyrank's own fake world, at any world size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polyrank
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

WORLD_SIZE = 1_048_576


def test_one_rank_of_a_million() -> None:
    with polyrank.fake_world(WORLD_SIZE, rank=WORLD_SIZE - 1):
        mesh = init_device_mesh("cpu", (WORLD_SIZE // 8, 8), mesh_dim_names=("dp", "tp"))
        with polyrank.trace() as t:
            work = dist.all_reduce(torch.ones(4), group=mesh.get_group("tp"), async_op=True)
            work.wait()
            gathered = torch.ops._c10d_functional.all_gather_into_tensor(
                torch.ones(2), 8, mesh.get_group("tp").group_name
            )
            torch.ops._c10d_functional.wait_tensor(gathered)
            dist.barrier(mesh.get_group("dp"))
    reduce, gather, barrier = t.launches
    assert reduce["ranks"] == str(WORLD_SIZE - 1)
    assert reduce["group"]["ranks"] == f"{WORLD_SIZE - 8}-{WORLD_SIZE - 1}"
    assert reduce["payload_bytes"] == 16 and reduce["wire_bytes"] == 28
    assert reduce["async"] and reduce["waited"]["file"] == __file__
    assert gather["payload_bytes"] == 64 and gather["waited"] is not None
    assert barrier["group"]["size"] == WORLD_SIZE // 8
    assert barrier["group"]["ranks"] == f"7-{WORLD_SIZE - 1} step 8"


def test_the_command_line_traces_one_rank(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nimport torch.distributed as dist\n"
        "dist.init_process_group('nccl')\n"
        "dist.all_reduce(torch.ones(2))\n"
    )
    command = ["polyrank.cli", "run", "--world", "fake", "--ranks", "4096", "--rank", "17"]
    file = tmp_path / "t.json"
    result = subprocess.run(
        [sys.executable, "-m", *command, "--trace", str(file), str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(file.read_text())
    (launch,) = document["polyrank"]["launches"]
    assert launch["ranks"] == "17" and launch["source"]["line"] == 4
    assert document["traceEvents"][0]["args"]["name"] == "rank 17"
