"""A run that a server of `polyrank serve` takes is the run that it would be alone."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fork_server.served_runs import Place, end, is_gone, wait_until
from polyrank.divergence.mutate.mutants import Mutant, Site

# What a rank can see of itself, as a line of JSON.
PROBE = """
import json, os, resource, signal, sys, threading, torch
import torch.distributed as dist
dist.init_process_group()
x = torch.full((3,), 0.1) * (dist.get_rank() + 1)
dist.all_reduce(x)
def told(fd):
    try:
        return os.read(fd, 99).decode()
    except OSError as error:
        return error.errno
print(json.dumps({
    "sum": x.tolist(), "environment": dict(os.environ), "c": os.environb[b"HOME"].decode(),
    "argv": sys.argv, "command": sys.orig_argv[1:], "path": sys.path, "file": __file__, "folder": os.getcwd(),
    "umask": os.umask(0), "cores": sorted(os.sched_getaffinity(0)), "priority": os.nice(0),
    "limits": [resource.getrlimit(n) for n in range(16)], "threads": torch.get_num_threads(),
    "signals": {str(n): str(signal.getsignal(n)) for n in signal.valid_signals()},
    "blocked": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "streams": [[s.name, s.encoding, s.errors, s.line_buffering, s.isatty()]
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "given": told(9) if dist.get_rank() == 0 else os.fstat(9).st_size, "typed": sys.stdin.read(), "active": threading.active_count(),
    "warnings": len(__import__("warnings").filters), "modules": "helper" in sys.modules,
}), flush=True)
"""
OF_A_RUN = {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE"}
STARTS = "import os, time, torch, torch.distributed as dist\ndist.init_process_group()\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With a server."""
    place = Place(tmp_path_factory.mktemp("a place"))
    server = place.start_server()
    yield place
    end(server)


def probes(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    lines = sorted(re.findall(r"^\[rank\d\]: (.*)$", done.stdout, re.MULTILINE))
    found = [json.loads(line) for line in lines]
    for probe in found:
        probe["environment"] = {
            name: value for name, value in probe["environment"].items() if name not in OF_A_RUN
        }
        probe["command"] = [one for one in probe["command"] if one != "--verbose"]
    return sorted(found, key=lambda probe: str(probe["environment"]["RANK"]))


def reports(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The tables, without times and memory; what the server says is left out."""
    text = re.sub(r"^polyrank serve: .*\n", "", done.stderr, flags=re.MULTILINE)
    return re.findall(r"[a-z_]{4,}|\b\d+ B\b", text)


def test_a_rank_has_what_it_has_without(place: Place, tmp_path: Path) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        source, sink = os.pipe()
        os.write(sink, b"from a pipe")
        os.close(sink)

        def before() -> None:
            os.dup2(source, 9)
            os.umask(0o027)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

        own = {**place.environment, "OF_THE_COMMAND": "ä"}
        try:
            return place.run(
                PROBE,
                *options,
                arguments=["--epochs", "2"],
                input="what is typed",
                cwd=tmp_path,
                env=own,
                preexec_fn=before,
                pass_fds=[9, source],
            )
        finally:
            os.close(source)

    served, alone = run("--verbose"), run("--no-serve")
    assert "is used" in served.stderr
    alone_probes = probes(alone)
    for probe in alone_probes:
        probe["command"].remove("--no-serve")
    for served_probe, alone_probe in zip(probes(served), alone_probes, strict=True):
        for name, value in alone_probe.items():
            assert served_probe[name] == value, name
    assert probes(served)[0]["given"] == "from a pipe"
    assert probes(served)[0]["typed"] == "what is typed"
    assert probes(served)[0]["environment"]["OF_THE_COMMAND"] == "ä"
    assert reports(served) == reports(alone)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import os, sys\nsys.exit(3 if os.environ['RANK'] == '1' else 0)\n", 3),
        ("import os\nif os.environ['RANK'] == '1': raise ValueError('no data')\n", 1),
        ("import os\nif os.environ['RANK'] == '1': os.kill(os.getpid(), 9)\n", 137),
        (STARTS + "if dist.get_rank(): dist.all_reduce(torch.ones(2))\n"
         "else: dist.all_reduce(torch.ones(3))\n", 114),
        ("no python\n", 1),
    ],
)  # fmt: skip
def test_failures_are_told_as_without(place: Place, text: str, code: int) -> None:
    def told(done: subprocess.CompletedProcess[str]) -> list[str]:
        lines = done.stderr.splitlines()
        return [
            line
            for line in lines
            if re.match(r"rank|raised|\w*Error|Traceback", line) or "ValueError" in line
        ]

    served, alone = place.run_served(text), place.run(text, "--no-serve")
    assert (served.returncode, alone.returncode) == (code, code)
    assert told(served) == told(alone) != []


def test_wrong_arguments_are_told_as_without(place: Place) -> None:
    served, alone = (place.run("", "--device", "tpu", one) for one in ("--verbose", "--no-serve"))
    assert served.returncode == alone.returncode == 2
    assert alone.stderr in served.stderr


def test_random_streams_are_new_in_each_run(place: Place) -> None:
    text = (
        "import random, numpy, torch\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1).item(), flush=True)\n"
    )
    draws = [
        draw
        for _ in range(2)
        for line in place.run_served(text).stdout.splitlines()
        for draw in line.split()[1:]
    ]
    assert len(draws) == len(set(draws)) == 12


def test_sources_are_read_anew(place: Place) -> None:
    for value in (1, 2):
        place.write(f"value = {value}\n" + "#" * value, "beside.py")
        done = place.run_served(f"import beside\nprint(beside.value, {value})\n")
        assert done.stdout.count(f"{value} {value}") == 2


def test_runs_at_the_same_time_have_environments_of_their_own(place: Place) -> None:
    text = STARTS + (
        "x = torch.tensor([float(os.environ['OWN'])])\nfor _ in range(50): dist.all_reduce(x, 'avg')\n"
        "print('found', x.item(), os.environ['OWN'], flush=True)\n"
    ).replace("'avg'", "dist.ReduceOp.AVG")
    runs = [
        place.start(text, "--verbose", env={**place.environment, "OWN": str(number)})
        for number in range(3)
    ]
    for number, one in enumerate(runs):
        out, err = one.communicate(timeout=240)
        assert one.returncode == 0 and "is used" in err, err
        assert out.count(f"found {number}.0 {number}\n") == 2


WAITS = STARTS + (
    "try:\n    print('pid', os.getpid(), os.getppid(), flush=True)\n    time.sleep(600)\n"
    "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n    raise\n"
)


def pids_of(one: subprocess.Popen[str]) -> list[int]:
    """Of two ranks and the launcher."""
    assert one.stdout is not None
    lines = [one.stdout.readline().split() for _ in range(2)]
    return [int(pid) for line in lines for pid in line[2:]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_the_ranks(place: Place, number: int, code: int) -> None:
    one = place.start(WAITS, "--verbose")
    pids = pids_of(one)
    one.send_signal(number)
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out.count("interrupted")) == (code, 2), err
    assert "interrupted: ranks end" in err
    assert all(map(is_gone, pids))


def test_no_rank_outlives_a_command_that_is_killed(place: Place) -> None:
    one = place.start(WAITS)
    pids = pids_of(one)
    one.kill()
    wait_until(lambda: all(map(is_gone, pids)))
    one.communicate()


def test_a_launcher_that_is_killed_is_told(place: Place) -> None:
    one = place.start(WAITS)
    pids = pids_of(one)
    launcher = psutil.Process(pids[0]).ppid()
    os.kill(launcher, signal.SIGKILL)
    one.communicate(timeout=60)
    assert one.returncode == 137
    wait_until(lambda: all(map(is_gone, pids)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--world", "real"), "ranks of --world real are started as themselves"),
        (("--hash-seeds", "2"), "--hash-seeds is for launchers of its own"),
    ],
)
def test_a_run_that_needs_another_launcher_is_handed_back(
    place: Place, options: tuple[str, ...], reason: str
) -> None:
    done = place.run("print('ran', flush=True)\n", "--verbose", *options)
    assert (done.returncode, done.stdout.count("ran\n")) == (0, 2), done.stderr
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("variables", "is_used"),
    [
        ({"OMP_NUM_THREADS": "3"}, False),
        ({"PYTHONHASHSEED": "7"}, False),
        ({"FX_PATCH_GETITEM": "0"}, False),
        ({"POLYRANK_SERVE": "0"}, False),
        ({"LEARNING_RATE": "3"}, True),
    ],
)
def test_variables_that_imports_read_are_the_servers(
    place: Place, variables: dict[str, str], is_used: bool
) -> None:
    done = place.run("", "--verbose", env={**place.environment, **variables})
    assert done.returncode == 0
    assert (" is used\n" in done.stderr) == is_used, done.stderr
    if variables.keys() & {"OMP_NUM_THREADS", "FX_PATCH_GETITEM"}:
        assert f"the variable {next(iter(variables))} is another one" in done.stderr


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ("", None),
        ("helper.py", None),
        ("psutil/__init__.py", "with psutil: the server may have another module of that name"),
        ("pandas.py", "with pandas.py: the server may have another module"),  # which it lacks
        ("sitecustomize.py", "with sitecustomize.py: the server may have another module"),
        ("own.egg-info/PKG-INFO", "with own.egg-info: what is installed may be another version"),
    ],
)
def test_further_folders_of_modules_are_searched_if_they_have_none_of_the_servers(
    place: Place, tmp_path: Path, beside: str, reason: str | None
) -> None:
    folder = tmp_path / "a föld"
    if beside:
        (folder / beside).parent.mkdir(parents=True)
        (folder / beside).write_text("value = 7\n" if beside == "helper.py" else "")
    imports = "import helper\nprint('value', helper.value)\n" if beside == "helper.py" else ""
    own = place.environment | {"PYTHONPATH": str(folder)}
    program = f"import sys\n{imports}print('searched', sys.path[1], flush=True)\n"
    done = place.run(program, "--verbose", env=own)
    assert (" is used\n" in done.stderr) == (reason is None), done.stderr
    assert (reason or "") in done.stderr
    if reason is None:
        assert done.stdout.count(f"searched {folder}\n") == 2
        assert done.stdout.count("value 7\n") == (2 if imports else 0)


@pytest.mark.parametrize("world", ["processes", "threads", "lockstep"])
def test_a_mutation_is_the_runs(place: Place, tmp_path: Path, world: str) -> None:
    program = (
        "import torch\nimport torch.distributed as dist\ndist.init_process_group()\n"
        "x = torch.ones(2)\ndist.all_reduce(x)\nprint('sum', x.tolist(), flush=True)\n"
    )
    script = place.write(program)
    line = program.splitlines().index("dist.all_reduce(x)") + 1
    site = Mutant("drop", Site("", "", 0, ""), "c10d::allreduce_", str(script), line, "world")
    mutated = place.environment | site.environment(tmp_path / "log")
    for variables, total in ((mutated, 1.0), (place.environment, 2.0)):
        done = place.run_served(program, "--world", world, env=variables)
        assert f"sum [{total}, {total}]" in done.stdout, done.stderr


AT_TERMINAL = """
import os, sys, time
size = os.get_terminal_size()
print("size", size.columns, size.lines, sys.stdin.isatty(), sys.stdout.isatty(), flush=True)
print("typed", input(), *os.get_terminal_size(), flush=True)
time.sleep(600)
"""


def test_a_rank_at_the_terminal_has_the_commands(place: Place) -> None:
    own, theirs = pty.openpty()

    def set_size(columns: int, lines: int) -> None:
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def seen_until(text: str) -> str:
        nonlocal seen
        while text not in seen:
            seen += os.read(own, 4096).decode()
        return seen

    seen = ""
    set_size(101, 33)
    one = place.start(
        AT_TERMINAL,
        *("--verbose", "--debug-rank", "0"),
        ranks=1,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)),
    )
    os.close(theirs)
    assert " is used" in seen_until("size 101 33 True True")
    set_size(55, 22)
    os.write(own, b"a line\n")
    seen_until("typed a line 55 22")
    os.write(own, b"\x03")  # Ctrl-C
    seen_until("interrupted: ranks end")
    assert one.wait(60) == 130
    os.close(own)


def test_what_a_command_can_say_of_servers(place: Place) -> None:
    (socket,) = place.sockets
    again = place.serve()
    assert again.returncode == 0
    assert again.stdout == f"there is one: process {socket.stem}\n"
    assert place.sockets == [socket]
    status = place.serve("--status")
    assert status.returncode == 0
    assert re.fullmatch(
        rf"process {socket.stem}: since \d+\.\d min, \d+ runs, \d+ running; a run here uses it\n",
        status.stdout,
    )
    others = Place(place.folder, {"OMP_NUM_THREADS": "3"}).serve("--status")
    assert others.returncode == 1
    assert "does not use it: the variable OMP_NUM_THREADS" in others.stdout
