"""`polyrank run`: scripts that branch on their rank, as threads and as processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch_builds import needs_cpu_build, needs_gpu_build

HEAD = "import os, sys\nimport torch\nimport torch.distributed as dist\n"


OF_THREADS = pytest.mark.parametrize("world", ["threads"], indirect=True)
OF_PROCESSES = pytest.mark.parametrize("world", ["processes"], indirect=True)
_world = ["threads"]


@pytest.fixture(autouse=True, params=["threads", "processes"])
def world(request: pytest.FixtureRequest) -> Iterator[str]:
    """The world that run() starts scripts in."""
    _world[:] = [request.param]
    yield request.param
    _world[:] = ["threads"]


def run(folder: Path, *arguments: str, ranks: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", *_world]
    return subprocess.run(
        [*command, "--ranks", str(ranks), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


def run_script_with(
    folder: Path, options: list[str], text: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    script = folder / "program.py"
    script.write_text(HEAD + text)
    return run(folder, *options, str(script), *arguments, ranks=3)


def run_script(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script_with(folder, [], text, *arguments)


@needs_cpu_build
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


@needs_gpu_build
def test_ranks_can_start_cuda_themselves(tmp_path: Path) -> None:
    done = run_script(tmp_path, "print(torch.cuda._is_in_bad_fork())\n")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[rank{rank}]: False" for rank in range(3)]


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
    assert done.returncode == 114
    assert "ranks 0-1: all_reduce(sum) float32[3]" in done.stderr
    assert "program.py:7" in done.stderr
    assert "rank 2: broadcast(root 0) float32[3]" in done.stderr
    assert "program.py:8" in done.stderr
    assert re.search(r"raised on ranks? [0-2,-]+: CollectiveMismatchError", done.stderr)
    assert "rank_threads" not in done.stderr  # no frames of ours
    assert "process_ranks" not in done.stderr


def test_the_cause_comes_last_and_the_others_are_a_line(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "dist.init_process_group('gloo')\n"
        "if dist.get_rank() == 1:\n"
        "    raise ValueError('no data')\n"
        "dist.barrier()\n",
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: no data\nraised on rank 1\n")
    assert done.stderr.count("raised on") == 2  # the cause, and all others in a line
    assert "raised on ranks 0,2: CollectiveError: rank 1 failed" in done.stderr


def test_modules_run_too(tmp_path: Path) -> None:
    package = tmp_path / "trainer"
    package.mkdir()
    (package / "__init__.py").write_text("from . import state\n")
    (package / "state.py").write_text("RANKS = []\n")
    (package / "__main__.py").write_text(
        "import os\nimport torch.distributed as dist\nfrom trainer.state import RANKS\n"
        "RANKS.append(os.environ['RANK'])\n"
        "dist.init_process_group()\ndist.barrier()\n"
        "print(__package__, *RANKS)\n"
    )
    (package / "late.py").write_text("from . import __main__\n")
    for module in ("trainer", "trainer.late"):
        done = run(tmp_path, "-m", module, ranks=2)
        assert done.returncode == 0, done.stderr
        assert sorted(done.stdout.splitlines()) == ["[rank0]: trainer 0", "[rank1]: trainer 1"]


def test_there_must_be_such_a_module(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "no_such_module", ranks=2)
    assert done.returncode == 2
    assert "there is no such module to run: No module named 'no_such_module'" in done.stderr


@OF_PROCESSES
def test_this_is_the_world_unless_another_is_named(tmp_path: Path) -> None:
    program = "import threading\nprint(threading.current_thread() is threading.main_thread())\n"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--ranks", "2", "program.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["[rank0]: True", "[rank1]: True"]


def test_what_has_no_end_of_line_is_printed_at_the_end_by_rank(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "dist.init_process_group()\n"
        "if dist.get_rank() == 0:\n    dist.barrier()\n"
        "print(f'rank {dist.get_rank()} ends', end='')\n"
        "if dist.get_rank() != 0:\n    dist.barrier()\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(f"[rank{rank}]: rank {rank} ends\n" for rank in range(3))


def test_a_folder_for_what_ranks_print(tmp_path: Path) -> None:
    done = run_script_with(
        tmp_path,
        ["--log-dir", str(tmp_path / "logs")],
        "dist.init_process_group()\n"
        "rank = dist.get_rank()\n"
        "print('out of', rank)\nprint('err of', rank, file=sys.stderr)\n"
        "dist.barrier()\n"
        "if rank == 1:\n    raise ValueError('no data')\n"
        "dist.barrier()\n",
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ValueError: no data" in done.stderr and "err of" not in done.stderr
    for rank in range(3):
        folder = tmp_path / "logs" / str(rank)
        assert (folder / "stdout.log").read_text() == f"out of {rank}\n"
        assert (folder / "stderr.log").read_text().startswith(f"err of {rank}\nTraceback")
    assert "ValueError: no data\n" in (tmp_path / "logs" / "1" / "stderr.log").read_text()


@pytest.mark.parametrize("in_files", [True, False])
def test_what_ranks_write_to_descriptors_is_theirs(tmp_path: Path, in_files: bool) -> None:
    done = run_script_with(
        tmp_path,
        ["--log-dir", str(tmp_path / "logs")] if in_files else [],
        "import os\n"
        "dist.init_process_group()\n"
        "rank = dist.get_rank()\n"
        "text = f'{rank} writes\\n'.encode()\n"
        "assert os.write(1, memoryview(text)) == len(text)\n"
        "assert os.writev(2, [text, b'twice\\n']) == len(text) + 6\n"
        "print('printed', flush=True)\n"
        "read, write = os.pipe()\n"
        "os.write(write, b'x')\n"
        "assert os.read(read, 1) == b'x'\n"
        "dist.barrier()\n"
        "if rank == 2:\n"
        "    before = os.dup(1)\n"
        "    os.dup2(os.open('own.txt', os.O_CREAT | os.O_WRONLY), 1)\n"
        "    os.write(1, b'elsewhere')\n"
        "    os.dup2(before, 1)\n",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own.txt").read_bytes() == b"elsewhere"
    for rank in range(3):
        if in_files:
            folder = tmp_path / "logs" / str(rank)
            assert (folder / "stdout.log").read_text() == f"{rank} writes\nprinted\n"
            assert (folder / "stderr.log").read_text() == f"{rank} writes\ntwice\n"
        else:
            own = f"[rank{rank}]: "  # lines of processes come in any order of ranks
            printed = [line for line in done.stdout.splitlines() if line.startswith(own)]
            assert printed == [f"{own}{rank} writes", f"{own}printed"]
            told = [line for line in done.stderr.splitlines() if line.startswith(own)]
            assert told[:2] == [f"{own}{rank} writes", f"{own}twice"]
    assert not (in_files and done.stdout)


# Rank 0 takes two messages as they come, and can't do with them in one order.
RACE = """
dist.init_process_group()
x = torch.zeros(1)
if dist.get_rank() == 0:
    order = [dist.recv(x) for _ in range(2)]
    print(*order)
    if order == [int(rank) for rank in sys.argv[1:]]:
        raise ValueError(f"rank {order[0]} came first")
else:
    dist.send(x, dst=0)
"""


def test_a_race_is_found_by_trying_schedules_and_replayed_by_its_seed(tmp_path: Path) -> None:
    in_turn = run_script_with(tmp_path, ["--schedule", "in_turn"], RACE)
    assert in_turn.stdout in ("[rank0]: 1 2\n", "[rank0]: 2 1\n")
    usual = in_turn.stdout.split()[1:]
    other = usual[::-1]
    found = run_script_with(tmp_path, ["--schedules", "40", "--seed", "3"], RACE, *other)
    assert found.returncode == 1
    assert f"ValueError: rank {other[0]} came first" in found.stderr
    (seed,) = re.findall(r"--schedule random --seed (\d+) does the same again", found.stderr)
    tries = int(seed) - 3 + 1
    assert found.stdout == in_turn.stdout * (tries - 1) + "[rank0]: {} {}\n".format(*other)
    again = run_script_with(tmp_path, ["--schedule", "random", "--seed", seed], RACE, *other)
    assert again.returncode == 1
    assert again.stdout == "[rank0]: {} {}\n".format(*other)


def test_each_schedule_has_its_log_folder_and_modules(tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text("RUNS = []\n")
    done = run_script_with(
        tmp_path,
        ["--schedules", "2", "--log-dir", str(tmp_path / "logs")],
        "import state\nstate.RUNS.append(1)\nprint(state.RUNS)\n",
    )
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "logs").glob("*/*/stdout.log"))
    assert [str(file.relative_to(tmp_path / "logs").parent) for file in files] == [
        f"seed_{seed}/{rank}" for seed in range(2) for rank in range(3)
    ]
    assert {file.read_text() for file in files} == {"[1]\n"}


def test_a_script_that_exits_has_its_code(tmp_path: Path) -> None:
    assert run_script(tmp_path, "sys.exit(7)\n").returncode == 7
    assert run_script(tmp_path, "sys.exit(0)\n").returncode == 0
    done = run_script(tmp_path, "sys.exit('no data')\n")
    assert done.returncode == 1
    assert done.stderr.endswith("no data\n")


def test_which_ranks_exited_is_told(tmp_path: Path) -> None:
    text = "import torch.distributed as dist\ndist.init_process_group()\nif dist.get_rank() > 0: sys.exit(3)\ndist.barrier()\n"
    done = run_script(tmp_path, text)
    assert done.returncode == 3
    assert re.search(
        r"raised on ranks? [0-9,-]+: CollectiveError: rank [12] failed, so", done.stderr
    )
    assert re.search(r"rank(s 1-2| 1| 2) exited with code 3\n$", done.stderr)


def test_the_default_group_is_made_once(tmp_path: Path) -> None:
    text = (
        "import torch.distributed as dist\ndist.init_process_group()\n"
        "try:\n    dist.init_process_group()\nexcept ValueError as error:\n    print(error)\n"
        "dist.destroy_process_group()\ndist.init_process_group()\n"
    )
    done = run_script(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trying to initialize the default process group twice") == 3


# A signal may come within torch's own blocks, whose ends then find a state half made.
_STEPS = {
    "between blocks": "while True:\n    step()\n",
    "in a block that fails at its end": (
        "@contextlib.contextmanager\n"
        "def block():\n"
        "    try:\n        yield\n"
        "    finally:\n        raise RuntimeError('the state is half made')\n"
        "with block():\n    while True:\n        step()\n"
    ),
}


@pytest.mark.parametrize("steps", _STEPS)
@pytest.mark.parametrize("world", ["processes", "threads", "lockstep"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_its_reports(
    world: str, number: int, steps: str, tmp_path: Path
) -> None:
    script, report, trace = (tmp_path / name for name in ("program.py", "r.json", "t.json"))
    script.write_text(
        HEAD + "import contextlib\ndist.init_process_group()\n"
        "def step():\n    dist.all_reduce(torch.ones(2))\n    print('step', flush=True)\n"
        + _STEPS[steps]
    )
    command = [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", "2"]
    files = ["--json", str(report), "--trace", str(trace)]
    with subprocess.Popen(
        [*command, *files, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "step" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "all_reduce" in errors and "Traceback" not in errors
    assert json.loads(report.read_text())["exit_code"] == 128 + number
    assert json.loads(trace.read_text())["polyrank"]["launches"]


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep"])
def test_an_error_raised_in_the_place_of_an_interrupt_is_the_programs(
    world: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "try:\n    raise KeyboardInterrupt\n"
        "except KeyboardInterrupt as interrupt:\n"
        "    raise ValueError('no more time') from interrupt\n"
    )
    command = [sys.executable, "-m", "polyrank", "run", "--world", world, "--ranks", "2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError: no more time" in done.stderr
