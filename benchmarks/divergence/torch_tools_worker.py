"""One rank, which runs a program under one of PyTorch's tools."""

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional
import torch.distributed.tensor
from torch.utils._debug_mode import DebugMode

SECONDS = 30.0  # after which a collective that others never join is an error

with DebugMode():  # imports what it needs once, before ranks are forked
    torch.ones(1) + 1


@dataclass(frozen=True)
class Job:
    """One run of a program."""

    file: str
    argument: str
    mode: str
    num_ranks: int
    variables: dict[str, str]


def run_rank(job: Job, rank: int, folder: Path) -> None:
    """A process: what the tool said of its rank goes to a file."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.environ.update(job.variables)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job.num_ranks))
    dist.set_debug_level_from_env()
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), job.num_ranks)
    with own_store(store):
        told = run(job.file, job.argument, job.mode)
    (folder / str(rank)).write_text(json.dumps(told))
    os._exit(0)


@contextlib.contextmanager
def own_store(store: dist.Store) -> Iterator[None]:
    """A block in which the default group is made by this store."""
    made = dist.init_process_group

    def make(backend: str) -> None:
        made(
            backend,
            store=store,
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
            timeout=timedelta(seconds=SECONDS),
        )

    dist.init_process_group = make
    try:
        yield
    finally:
        dist.init_process_group = made


def run(file: str, argument: str, mode: str) -> dict[str, Any]:
    """The program's error, and what the tool wrote down."""
    sys.argv = [file, argument]
    sys.path.insert(0, str(Path(file).parent))
    told: dict[str, Any] = {"error": ""}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        debug_mode = None
        if mode == "debug_mode":
            debug_mode = stack.enter_context(DebugMode())
            stack.enter_context(DebugMode.log_tensor_hashes("norm"))
        destroyed = dist.destroy_process_group

        def destroy(*args: Any, **kwargs: Any) -> None:
            if mode == "flight_recorder" and "collectives" not in told:
                told["collectives"] = collectives()
            destroyed(*args, **kwargs)

        dist.destroy_process_group = destroy
        try:
            runpy.run_path(file, run_name="__main__")
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            told["error"] = traceback.format_exc().strip().splitlines()[-1]
        finally:
            dist.destroy_process_group = destroyed
            if dist.is_initialized():
                destroyed()
            sys.path.pop(0)
    if debug_mode is not None:
        told["calls"] = [
            [str(getattr(call, "op", type(call).__name__)), str((call.log or {}).get("hash"))]
            for call in debug_mode.logs
        ]
    return told


def collectives() -> list[Any]:
    """What the flight recorder wrote down: the kind of each collective, with sizes and types."""
    trace = json.loads(torch._C._distributed_c10d._dump_fr_trace_json(True, False))
    return [
        [
            entry.get(key)
            for key in ("profiling_name", "input_sizes", "output_sizes", "input_dtypes")
        ]
        for entry in trace.get("entries", [])
    ]
