"""How runs in processes end: exit codes, who is named, what is written, who is left."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAD = "import os, sys, time, signal, threading\nimport torch\nimport torch.distributed as dist\n"


def start(folder: Path, text: str, *options: str, ranks: int = 3) -> subprocess.Popen[str]:
    script = folder / "program.py"
    script.write_text(HEAD + text)
    command = [sys.executable, "-m", "polyrank.cli", "run", "--world", "processes"]
    return subprocess.Popen(
        [*command, "--ranks", str(ranks), *options, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def run(folder: Path, text: str, *options: str, ranks: int = 3) -> subprocess.CompletedProcess[str]:
    process = start(folder, text, *options, ranks=ranks)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def errors_of(done: subprocess.CompletedProcess[str]) -> str:
    """What was told after the tables."""
    return done.stderr.rpartition("┘\n")[2]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while any(map(is_running, pids)):
        assert time.monotonic() < until, pids
        time.sleep(0.05)


def test_an_exit_code_is_that_of_the_first_rank_to_fail(tmp_path: Path) -> None:
    done = run(tmp_path, "if os.environ['RANK'] == '1':\n    sys.exit(3)\n")
    assert done.returncode == 3
    assert errors_of(done) == "rank 1 exited with code 3\n"
    assert run(tmp_path, "sys.exit(0)\n").returncode == 0


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(9)"])
def test_a_death_is_told(tmp_path: Path, end: str) -> None:
    done = run(tmp_path, f"if os.environ['RANK'] == '2':\n    {end}\n")
    assert done.returncode == (137 if "kill" in end else 9)
    what = "signal 9 (SIGKILL)" if "kill" in end else "os._exit(9)"
    assert f"rank 2 died by {what}\n" in errors_of(done)


def test_what_is_raised_on_one_rank_is_printed_once_and_last(tmp_path: Path) -> None:
    text = (
        "if os.environ['RANK'] == '4':\n    raise ValueError('no data')\n"
        "time.sleep(0.5)\nraise KeyError('consequence')\n"
    )
    done = run(tmp_path, text, ranks=6)
    assert done.returncode == 1
    first, *rest = errors_of(done).splitlines()
    assert first == "raised on ranks 0-3,5: KeyError: 'consequence'"
    assert rest[0].startswith("Traceback")
    assert rest[-2:] == ["ValueError: no data", "raised on rank 4"]
    assert "polyrank" not in "".join(rest)  # no frames of ours


def test_a_rank_that_goes_on_after_a_failure_is_ended_in_the_end(tmp_path: Path) -> None:
    text = (
        "rank = int(os.environ['RANK'])\n"
        "if rank == 0:\n    raise ValueError('no data')\n"
        "while True:\n    time.sleep(0.1)\n"
    )
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert "ranks 1-2 did not end within 10 s after rank 0 failed, and are ended" in done.stderr
    assert re.search(r"ranks 1-2: .*program\.py:8 in <module>", done.stderr)
    assert "ValueError: no data\nraised on rank 0\n" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_writes_what_was_done(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    text = (
        "dist.init_process_group('gloo')\n"
        "x = torch.ones(2)\n"
        "for step in range(5):\n    dist.all_reduce(x)\n"
        "print('reached', flush=True)\n"
        "while True:\n    pass\n"
    )
    options = ["--json", str(tmp_path / "r.json"), "--trace", str(tmp_path / "t.json")]
    process = start(tmp_path, text, *options)
    assert process.stdout is not None
    for _ in range(3):
        assert "reached" in process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["exit_code"] == code
    launches = json.loads((tmp_path / "t.json").read_text())["polyrank"]["launches"]
    assert len(launches) == 15
    assert "Traceback" not in err


def test_a_time_limit(tmp_path: Path) -> None:
    done = run(tmp_path, "time.sleep(100)\n", "--timeout", "1")
    assert done.returncode == 124
    assert "ranks 0-2 did not end within 1 s (--timeout), and are ended" in done.stderr


@pytest.mark.parametrize("wait", ["lock.acquire()", "os.read(os.pipe()[0], 1)"])
def test_a_standstill_is_told_by_line(tmp_path: Path, wait: str) -> None:
    text = (
        "lock = threading.Lock()\nlock.acquire()\n"
        "def stuck():\n"
        "    if os.environ['RANK'] == '2':\n        time.sleep(100)\n"
        f"    {wait}\n"
        "stuck()\n"
    )
    done = run(tmp_path, text, "--timeout", "14")
    assert "nothing has gone on for 10 s, and the run waits; where ranks stand:\n" in done.stderr
    assert re.search(
        r"ranks 0-1: [^\n<]*program\.py:9 in stuck < [^\n<]*program\.py:10", done.stderr
    )
    assert re.search(r"rank 2: [^\n<]*program\.py:8 in stuck < [^\n<]*program\.py:10", done.stderr)


def test_no_rank_outlives_a_launcher_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, "print(os.getpid(), flush=True)\nwhile True:\n    pass\n")
    assert process.stdout is not None
    pids = [int(process.stdout.readline().split()[-1]) for _ in range(3)]
    assert all(map(is_running, pids))
    process.kill()
    process.wait()
    wait_until_gone(pids)


def test_a_reader_that_is_gone_ends_the_run_quietly(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text("i = 0\nwhile True:\n    print(i)\n    i += 1\n")
    python = shlex.quote(sys.executable)
    command = f"{python} -m polyrank.cli run --world processes --ranks 2 {script} | head -3"
    done = subprocess.run(
        ["bash", "-c", command + "; echo ${PIPESTATUS[0]}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    *lines, code = done.stdout.splitlines()
    assert len(lines) == 3
    assert code == "141"
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_exit_functions_and_threads_run_to_the_end(tmp_path: Path) -> None:
    text = (
        "import atexit\n"
        "atexit.register(lambda: print('at exit'))\n"
        "def late():\n    time.sleep(0.3)\n    print('thread')\n"
        "threading.Thread(target=late).start()\n"
        "print('main')\n"
    )
    done = run(tmp_path, text, ranks=1)
    assert done.stdout == "".join(f"[rank0]: {word}\n" for word in ("main", "thread", "at exit"))
