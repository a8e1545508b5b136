"""A run in one process that a server of `polyrank serve` takes is the run that it would be alone."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fork_server.served_runs import Place, end

IN_ONE_PROCESS = ("threads", "lockstep", "fake")
# What the program sees of its process; on threads each rank does.
PROBE = """
import gc, json, os, resource, signal, sys, threading, torch
import torch.distributed as dist
dist.init_process_group()
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "file": __file__, "name": __name__, "folder": os.getcwd(),
    "own": os.environ["OF_THE_COMMAND"], "command": [one for one in sys.orig_argv if one[:2] != "--"],
    "limits": [resource.getrlimit(n) for n in range(16)], "cores": sorted(os.sched_getaffinity(0)),
    "signals": {str(n): str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()},
    "blocked": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "streams": [[one.name, one.encoding, one.errors, one.isatty()] for one in (sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "frozen": gc.get_freeze_count(), "threads": torch.get_num_threads(),
    "is_main": threading.main_thread() is threading.enumerate()[0],
}), flush=True)
"""
TRAINS = """
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group()
torch.manual_seed(1)
for device in ("cpu", "cuda"):
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 1)).to(device))
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(3):
        x = torch.randn(256, 64, device=device) + dist.get_rank()
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    total = sum(parameter.double().sum() for parameter in model.parameters())
    dist.all_reduce(total)
    print(device, total.item().hex() if isinstance(total.item(), float) else total.item(), flush=True)
torch.compile(lambda x: x.sin(), backend="eager")(torch.ones(2))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With a server."""
    place = Place(tmp_path_factory.mktemp("a place"))
    server = place.start_server()
    yield place
    end(server)


@pytest.fixture(params=IN_ONE_PROCESS)
def place(request: pytest.FixtureRequest, served: Place) -> Place:
    return Place(served.folder, served.variables, ("--world", request.param))


def printed(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_a_program_has_what_it_has_without(place: Place, tmp_path: Path) -> None:
    def run(option: str) -> subprocess.CompletedProcess[str]:
        own = {**place.environment, "OF_THE_COMMAND": "ä"}
        return place.run(PROBE, option, arguments=["a", "b"], cwd=tmp_path, env=own)

    with_server, alone = run("--verbose"), run("--no-serve")
    assert "is used" in with_server.stderr
    assert printed(with_server) == printed(alone)


def test_training_gives_the_same_bits(place: Place) -> None:
    with_server, alone = place.run_served(TRAINS), place.run(TRAINS, "--no-serve")
    assert printed(with_server) == printed(alone)
    assert len(printed(alone)) >= 2


def test_random_streams_are_new_in_each_run(place: Place) -> None:
    text = (
        "import random, numpy, torch\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1).tolist(), flush=True)\n"
    )
    first, second = (printed(place.run_served(text))[0].split()[-3:] for _ in range(2))
    # On threads those of Python and NumPy are the rank's, the same in each run.
    are_new = [False, False, True] if "threads" in place.world else [True, True, True]
    assert [one != other for one, other in zip(first, second, strict=True)] == are_new


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("import sys\nsys.exit(3)\n", 3, ""),
        ("raise ValueError('no data')\n", 1, "ValueError: no data"),
        ("import os\nos.kill(os.getpid(), 9)\n", 137, ""),
        ("no python\n", 1, "SyntaxError: invalid syntax"),
        ("import torch\ntorch.cuda.set_device(9)\n", 1, "RuntimeError: CUDA error: invalid device"),
    ],
)
def test_failures_are_told(place: Place, text: str, code: int, told: str) -> None:
    done = place.run_served(text)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert not told or 'program.py", line' in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_program(place: Place, number: int, code: int) -> None:
    one = place.start("import time\nprint('begun', flush=True)\ntime.sleep(600)\n", "--verbose")
    assert one.stdout is not None and "begun" in one.stdout.readline()
    one.send_signal(number)
    _, err = one.communicate(timeout=60)
    assert one.returncode == code and "is used" in err, err


def test_a_server_that_imported_more_is_for_processes(served: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, {}, ("--world", "threads"))
    server = place.start_server("--preload", "numpy")
    try:
        done = place.run("print('ran')\n", "--verbose")
        assert done.returncode == 0
        assert "the server has imported numpy" in done.stderr
    finally:
        end(server)
