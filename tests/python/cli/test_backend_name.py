"""`init_process_group("polyrank")`: a name like any other where polyrank runs the program, an error elsewhere."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import polyrank
import pytest
import torch.distributed as dist

SCRIPT = """
import torch
import torch.distributed as dist
dist.init_process_group("polyrank")
x = torch.ones(2)
dist.all_reduce(x)
print(dist.get_backend(), x.tolist())
dist.destroy_process_group()
"""


@pytest.mark.parametrize("world", ["lockstep", "threads", "processes", "fake"])
def test_every_world_takes_the_name(world: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", "2", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "polyrank [2.0, 2.0]" in done.stdout


def test_the_entry_point_says_how_a_program_gets_ranks() -> None:
    (entry_point,) = entry_points(group="torch.distributed.backends", name="polyrank")
    with pytest.raises(polyrank.UsageError, match=r"polyrank run --ranks N"):
        entry_point.load()()


@pytest.mark.skipif(
    not hasattr(dist.Backend, "_ensure_backend_registered"), reason="torch 2.14 has entry points"
)
def test_torch_comes_to_the_entry_point() -> None:
    with pytest.raises(polyrank.UsageError, match="is no backend that joins processes"):
        dist.init_process_group("polyrank", rank=0, world_size=1, store=dist.HashStore())
