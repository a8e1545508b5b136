"""What a forked rank finds: all that a process which was started anew has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Prints what a process can see of itself, as one line of JSON.
PROBE = """
annotated = __annotations__
names = sorted(name for name in globals() if name.startswith("__"))
import json, os, random, resource, signal, sys, threading
import torch
import torch.distributed as dist

def annotate(number: int) -> "str": ...

numpy = __import__("numpy") if "numpy" in sys.modules else None
print(json.dumps({
    "environment": dict(os.environ),
    "argv": sys.argv, "path": sys.path, "file": __file__, "name": __name__, "package": __package__,
    "main": sys.modules["__main__"].__dict__ is globals(), "builtins": type(__builtins__).__name__,
    "names": names, "cached": __cached__, "spec": str(__spec__), "hook": sys.excepthook.__module__,
    "annotations": [str(annotated), str(annotate.__annotations__), annotate.__code__.co_flags],
    "modes": [sys.stdin.mode, sys.stdout.mode, sys.stderr.mode], "streams": sys.stdout.name,
    "signals": {str(n): str(signal.getsignal(n)) for n in signal.valid_signals()
                if signal.getsignal(n) != signal.SIG_DFL},
    "blocked": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "thread": repr(threading.current_thread()).split(",")[0],
    "is_main": threading.current_thread() is threading.main_thread(),
    "num_threads": [threading.active_count(), torch.get_num_threads(), torch.get_num_interop_threads()],
    "leads": [os.getpid() == os.getpgid(0), os.getpid() == os.getsid(0)],
    "files": resource.getrlimit(resource.RLIMIT_NOFILE), "folder": os.getcwd(),
    "encodings": [sys.stdin.encoding, sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors],
    "torchelastic": dist.is_torchelastic_launched(), "local_rank": dist.get_node_local_rank(),
}), flush=True)
print(json.dumps({
    "pid": os.getpid(), "stdin": sys.stdin.read(),
    "draws": [random.random(), torch.rand(1).item(), numpy and numpy.random.rand()],
}), flush=True)
"""
RUN = ("polyrank.cli", "run", "--world", "processes", "--ranks", "2")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# Of the environment: what has another value in each run.
OF_A_RUN = {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_RUN_ID"}
# torchrun's agent has a store of its own, and signals of its own; here the port is free.
OF_AN_AGENT = {"TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_SIGNALS_TO_HANDLE"}


def told_by(folder: Path, *launcher: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What each rank prints: what it has as others have it, by rank, and what is its own."""
    (folder / "program.py").write_text(PROBE)
    done = subprocess.run(
        (sys.executable, "-m", *launcher, "program.py", "--epochs", "2"),
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
        cwd=folder,
        input="what is typed",
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    # torchrun's ranks write when they like, also into another's line.
    starts = [found.start() for found in re.finditer(r'{"(environment|pid)"', done.stdout)]
    lines = [json.JSONDecoder().raw_decode(done.stdout, start)[0] for start in starts]
    seen = [line for line in lines if "environment" in line]
    seen.sort(key=lambda line: int(line["environment"]["RANK"]))
    return seen, [line for line in lines if "pid" in line]


def test_is_what_torchrun_gives(tmp_path: Path) -> None:
    ours, own = told_by(tmp_path, *RUN)
    theirs, _ = told_by(tmp_path, *TORCHRUN)
    for rank in range(2):
        mine, other = ours[rank].pop("environment"), theirs[rank].pop("environment")
        assert mine.keys() - OF_AN_AGENT == other.keys() - OF_AN_AGENT
        for name in mine.keys() - OF_AN_AGENT - OF_A_RUN:
            assert mine[name] == other[name], name
        assert ours[rank] == theirs[rank]
    assert own[0]["pid"] != own[1]["pid"]
    assert sorted(line["stdin"] for line in own) == ["", "what is typed"]
    for mine_of_0, mine_of_1 in zip(own[0]["draws"], own[1]["draws"], strict=True):
        assert mine_of_0 is None or mine_of_0 != mine_of_1


def run_program(folder: Path, text: str, *options: str, ranks: int = 2) -> list[str]:
    (folder / "program.py").write_text(text)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "processes"]
    done = subprocess.run(
        [*command, "--ranks", str(ranks), *options, "program.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_processes_of_a_rank(tmp_path: Path) -> None:
    text = """
import multiprocessing, os, subprocess, sys
import torch
from torch.utils.data import DataLoader

def tell(queue):
    queue.put((os.getppid(), os.environ["RANK"]))

if __name__ == "__main__":
    rank = os.environ["RANK"]
    for method in ("spawn", "fork", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=tell, args=(queue,))
        process.start()
        assert queue.get()[1] == rank
        process.join()
        assert process.exitcode == 0
    loader = DataLoader(list(range(6)), batch_size=2, num_workers=2)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]
    command = [sys.executable, "-c", "import os; print(os.environ['RANK'])"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == rank + "\\n"
    print("done")
"""
    assert sorted(run_program(tmp_path, text)) == ["[rank0]: done", "[rank1]: done"]


def test_runs_in_runs(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("import os; print(os.environ['WORLD_SIZE'])\n")
    text = """
import os, subprocess, sys
command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "processes", "--ranks", "3"]
done = subprocess.run([*command, "inner.py"], capture_output=True, text=True, check=True)
print(*sorted(done.stdout.split("\\n")))
"""
    lines = run_program(tmp_path, text, ranks=1)
    assert lines == ["[rank0]:  [rank0]: 3 [rank1]: 3 [rank2]: 3"]


def test_signals_are_the_ranks_own(tmp_path: Path) -> None:
    text = """
import os, signal, threading
got = []
signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
os.kill(os.getpid(), signal.SIGUSR1)
os.chdir("/")
print(len(got), os.getcwd())
"""
    assert sorted(run_program(tmp_path, text)) == ["[rank0]: 1 /", "[rank1]: 1 /"]


def test_a_log_folder(tmp_path: Path) -> None:
    text = "import os, sys\nprint('out'); print('err', file=sys.stderr); os.write(1, b'raw')\n"
    assert run_program(tmp_path, text, "--log-dir", "logs") == []
    for rank in ("0", "1"):
        assert (tmp_path / "logs" / rank / "stdout.log").read_text() == "out\nraw"
        assert (tmp_path / "logs" / rank / "stderr.log").read_text() == "err\n"


@pytest.mark.parametrize("how", ["print(*'ab', sep='\\n', end='')", "os.write(1, b'a\\nb')"])
def test_lines_come_whole_and_the_unfinished_at_the_end_by_rank(tmp_path: Path, how: str) -> None:
    lines = run_program(tmp_path, f"import os\n{how}\n", ranks=3)
    assert sorted(lines[:3]) == [f"[rank{rank}]: a" for rank in range(3)]
    assert lines[3:] == [f"[rank{rank}]: b" for rank in range(3)]


def test_long_lines_of_many_ranks_are_not_torn(tmp_path: Path) -> None:
    text = (
        "import os\nrank = os.environ['RANK']\n"
        "for i in range(200):\n    print(rank * (2000 * (i % 4) + 1))\n"
    )
    lines = run_program(tmp_path, text, ranks=4)
    assert len(lines) == 800
    for line in lines:
        head, _, body = line.partition("]: ")
        assert set(body) == {head[-1]} and (len(body) - 1) % 2000 == 0


FOLDER = """
import os, pathlib, sys, time

if os.environ["RANK"] == "0":
    pathlib.Path("pid").write_text(str(os.getpid()) + "\\n")
    sys.exit()
while not (file := pathlib.Path("pid")).exists() or not file.read_text().endswith("\\n"):
    time.sleep(0.01)
stat = pathlib.Path("/proc", file.read_text().strip(), "stat")
while stat.exists() and stat.read_text().split()[2] != "Z":
    time.sleep(0.01)
print(pathlib.Path(os.environ["TORCHELASTIC_ERROR_FILE"]).parent.is_dir())
"""


def test_what_a_run_has_on_disk_outlives_its_first_rank(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FOLDER)
    done = subprocess.run(
        (sys.executable, "-m", *RUN, "program.py"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.stdout == "[rank1]: True\n"


def test_what_a_rank_replaces_is_looked_for_before_the_fork() -> None:
    program = (
        "from polyrank import run_ranks\n"
        "from polyrank.replacing.layers import PROCESSES\n"
        "def body():\n"
        "    return PROCESSES.is_on, id(PROCESSES._places)\n"
        "told = run_ranks(body, 2, world='processes')\n"
        "assert told == 2 * [(True, id(PROCESSES._places))], told\n"
        "assert not PROCESSES.is_on\n"
    )
    subprocess.run((sys.executable, "-c", program), check=True, timeout=120)
