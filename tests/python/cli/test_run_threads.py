"""`polyrank run --world threads`: scripts that branch on their rank."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAD = "import os, sys\nimport torch\nimport torch.distributed as dist\n"


def run(folder: Path, *arguments: str, ranks: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "threads"]
    return subprocess.run(
        [*command, "--ranks", str(ranks), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


def run_script(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "program.py"
    script.write_text(HEAD + text)
    return run(folder, str(script), *arguments, ranks=3)


def test_ranks_branch_and_print_with_their_number(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "dist.init_process_group('nccl')\n"
        "x = torch.ones(2, device='cuda') * dist.get_rank()\n"
        "if dist.get_rank() == 0:\n"
        "    dist.send(x + 5, dst=1)\n"
        "elif dist.get_rank() == 1:\n"
        "    dist.recv(x, src=0)\n"
        "dist.all_reduce(x)\n"
        "print(x.tolist(), sys.argv[1:], __name__)\n"
        "dist.destroy_process_group()\n",
        "--epochs",
        "2",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"[rank{rank}]: [7.0, 7.0] ['--epochs', '2'] __main__" for rank in range(3)
    ]
    assert "send" in done.stderr
    assert "one per cohort" not in done.stderr  # there are none


def test_each_rank_has_its_environment_and_its_main(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "class Box:\n"
        "    def __init__(self, rank): self.rank = rank\n"
        "rank = int(os.environ['RANK'])\n"
        "assert os.environ.get('LOCAL_RANK') == str(rank) and 'GROUP_RANK' in os.environ\n"
        "dist.init_process_group(rank=rank, world_size=int(os.environ['WORLD_SIZE']))\n"
        "boxes = [None] * 3\n"
        "dist.all_gather_object(boxes, Box(rank))\n"
        "assert all(type(box) is Box for box in boxes)\n"
        "print([box.rank for box in boxes])\n",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[rank{rank}]: [0, 1, 2]" for rank in range(3)]


def test_a_call_left_out_is_named_by_file_and_line(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "dist.init_process_group('gloo')\n"
        "x = torch.ones(3)\n"
        "if dist.get_rank() != 2:\n"
        "    dist.all_reduce(x)\n"
        "dist.broadcast(x, src=0)\n",
    )
    assert done.returncode == 4
    assert "ranks 0-1: all_reduce(sum) float32[3]" in done.stderr
    assert "program.py:7" in done.stderr
    assert "rank 2: broadcast(root 0) float32[3]" in done.stderr
    assert "program.py:8" in done.stderr
    assert "raised on rank 0: CollectiveMismatchError" in done.stderr
    assert "rank_threads" not in done.stderr  # no frames of ours


def test_the_cause_comes_first(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "dist.init_process_group('gloo')\n"
        "if dist.get_rank() == 1:\n"
        "    raise ValueError('no data')\n"
        "dist.barrier()\n",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "ValueError: no data\nraised on rank 1\n" in done.stderr
    for rank in (0, 2):
        assert f"raised on rank {rank}: CollectiveError: rank 1 failed" in done.stderr


def test_modules_run_too(tmp_path: Path) -> None:
    package = tmp_path / "trainer"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import os\nprint(__package__, os.environ['RANK'])\n")
    done = run(tmp_path, "-m", "trainer", ranks=2)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["[rank0]: trainer 0", "[rank1]: trainer 1"]


def test_there_must_be_such_a_module(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "no_such_module", ranks=2)
    assert done.returncode != 0
    assert "there is no module 'no_such_module' to run" in done.stderr
