"""What functions of Python's library set: each rank that is a thread has what its process would have."""

from __future__ import annotations

import gc
import locale
import logging
import logging.config
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist

Set = Callable[[int], object]
Read = Callable[[], Any]


def set_zone(rank: int) -> None:
    os.environ["TZ"] = f"XXX-{rank}"
    time.tzset()


SETTINGS: dict[str, tuple[Set, Read]] = {
    "recursion limit": (lambda rank: sys.setrecursionlimit(2000 + rank), sys.getrecursionlimit),
    "digits": (
        lambda rank: sys.set_int_max_str_digits(5000 + rank),
        sys.get_int_max_str_digits,
    ),
    "switch interval": (lambda rank: sys.setswitchinterval(0.25 + rank), sys.getswitchinterval),
    "collector": (lambda rank: gc.disable() if rank == 1 else None, gc.isenabled),
    "collector's thresholds": (lambda rank: gc.set_threshold(800 + rank), gc.get_threshold),
    "time-out": (lambda rank: socket.setdefaulttimeout(10.0 + rank), socket.getdefaulttimeout),
    "locale": (
        lambda rank: locale.setlocale(locale.LC_ALL, "C" if rank == 1 else "C.UTF-8"),
        lambda: locale.setlocale(locale.LC_ALL),
    ),
    "time zone": (set_zone, lambda: (time.timezone, time.localtime(0).tm_hour)),
    "finders": (lambda rank: sys.meta_path.append(rank), lambda: str(sys.meta_path[-1])),  # type: ignore[arg-type]
    "path hooks": (lambda rank: sys.path_hooks.append(rank), lambda: str(sys.path_hooks[-1])),  # type: ignore[arg-type]
}


def set_fp16_reductions(rank: int) -> None:
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = rank != 1


def set_logger(rank: int) -> None:
    logger = logging.getLogger("torch.distributed")
    logger.setLevel(logging.INFO + rank)
    logger.addHandler(logging.NullHandler())
    logger.propagate = rank == 1


def told_of_logger() -> list[Any]:
    logger = logging.getLogger("torch.distributed")
    child = logging.getLogger("torch.distributed.polyrank_test")
    return [logger.level, len(logger.handlers), logger.propagate, child.isEnabledFor(logging.INFO)]


SETTINGS |= {
    "half-precision reductions": (
        set_fp16_reductions,
        lambda: torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
    ),
    "order of attentions": (
        lambda rank: torch._C._set_sdp_priority_order([rank, 0, 3 - rank, 3, 4]),
        torch._C._get_sdp_priority_order,
    ),
    "a logger that ranks share": (set_logger, told_of_logger),
    "loggers that nothing is said of": (
        lambda rank: logging.config._handle_existing_loggers(["torch"], [], rank == 1),  # type: ignore[attr-defined]
        lambda: logging.getLogger("torch").disabled,
    ),
    "torch's logs": (
        lambda rank: torch._logging.set_logs(dynamo=20 + 10 * rank, graph_breaks=rank == 1),
        lambda: [
            logging.getLogger("torch._dynamo").level,
            len(logging.getLogger("torch").handlers),
            len(torch._logging._internal.log_state.artifact_names),
        ],
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_those_of_processes(name: str) -> None:
    set_on, read = SETTINGS[name]

    def program() -> list[Any]:
        first = read()
        dist.barrier()
        if dist.get_rank() > 0:  # rank 0 keeps the first
            set_on(dist.get_rank())
        seen = [first, read()]
        for _ in range(2):
            dist.barrier()  # the others run meanwhile
            seen.append(read())
        return seen

    before = read()
    results = polyrank.run_ranks(program, 3)
    assert read() == before
    assert results == polyrank.run_ranks(program, 3, world="processes")
    assert len({str(result[-1]) for result in results}) > 1


MODULE = "torch._inductor.scheduler"  # makes loggers that torch keeps a list of
LOADS_ON_ONE_RANK = f"""
import logging, sys, torch, polyrank, torch.distributed as dist
MODULE = {MODULE!r}

def program():
    assert dist.get_rank() == 0 or MODULE not in sys.modules
    if dist.get_rank() == 1:
        __import__(MODULE)
    dist.barrier()
    torch._logging.set_logs(fusion=True)
    return logging.getLogger(f"{{MODULE}}.__fusion").artifact_name

assert polyrank.run_ranks(program, 2) == ["fusion"] * 2
torch._logging.set_logs(graph_breaks=True)
"""


def test_loggers_of_modules_are_in_all_ranks() -> None:
    """In a process of its own, where the module isn't loaded."""
    command = [sys.executable, "-c", LOADS_ON_ONE_RANK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_standard_output_of_one_rank_goes_to_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        if dist.get_rank() == 1:
            kept = os.dup(1)
            with (tmp_path / "log").open("w") as log:
                os.dup2(log.fileno(), 1)
            os.write(1, b"first ")
            dist.barrier()
            os.write(1, b"second")
            os.dup2(kept, 1)
            os.close(kept)
            dist.barrier()
        else:
            dist.barrier()
            os.write(1, b"rank 0 ")
            dist.barrier()
        os.write(1, b"end ")

    num_open = len(list(Path("/proc/self/fd").iterdir()))
    polyrank.run_ranks(program, 2)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == num_open
    os.write(1, b"after")
    assert (tmp_path / "log").read_text() == "first second"
    assert capfd.readouterr().out == "rank 0 end end after"


def test_threads_are_counted_as_in_processes() -> None:
    def program() -> list[Any]:
        current, main = threading.current_thread(), threading.main_thread()
        stop = threading.Event()
        started = threading.Thread(target=stop.wait, name="started")
        started.start()
        dist.barrier()
        names = sorted(thread.name for thread in threading.enumerate())
        seen = [current is main, main.name, threading.active_count(), names]
        stop.set()
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()
        return [*seen, threading.active_count()]

    expected = [True, "MainThread", 2, ["MainThread", "started"], 1]
    assert polyrank.run_ranks(program, 3) == [expected] * 3


def test_a_started_thread_knows_the_first_one() -> None:
    def program() -> bool:
        seen: list[bool] = []
        first = threading.current_thread()
        thread = threading.Thread(target=lambda: seen.append(threading.main_thread() is first))
        thread.start()
        thread.join()
        return seen == [True]

    assert all(polyrank.run_ranks(program, 2))


def test_what_a_rank_set_is_let_go_of_in_the_end() -> None:
    class Finder:
        def find_spec(self, *_: object) -> None:
            return None

    made: list[weakref.ref[Finder]] = []

    def program() -> None:
        finder = Finder()
        made.append(weakref.ref(finder))
        sys.meta_path.append(finder)
        set_zone(dist.get_rank())
        dist.barrier()

    polyrank.run_ranks(program, 2)
    gc.collect()
    assert [finder() for finder in made] == [None, None]
