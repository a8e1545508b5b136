"""Runs a program in processes of its own on this machine, as torchrun does."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from polyrank import exit_codes
from polyrank.worlds.merged_records import Record, merged_report, merged_trace
from polyrank.worlds.outcome import Outcome
from polyrank.worlds.real.worker import arguments_for, record_file
from polyrank.worlds.run_options import RunOptions

__all__ = ["run_processes"]


def run_processes(options: RunOptions) -> Outcome:
    """Run the program.

    PyTorch's elastic agent starts the processes; when one fails it ends the others. The exit code is
    that of the first to fail.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="polyrank-") as name:
        folder = Path(name)
        failed = _launch(options, folder)
        records = _read_records(folder, options.world_size)
    exit_code, error, told = _outcome(failed, records)
    if failed is not None and len(records) < options.world_size:
        missing = sorted(set(range(options.world_size)) - {record["rank"] for record in records})
        told = f"without the records of ranks that were ended: {missing}\n{told}"
    return Outcome(
        exit_code,
        merged_report(records, options.world_size, time.perf_counter() - started),
        failure=told,
        error=error,
        trace=merged_trace(records) if options.is_traced else None,
    )


def _launch(options: RunOptions, folder: Path) -> ChildFailedError | None:
    """Start the ranks and wait until all have ended; what failed, if anything."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=options.world_size,
        run_id="polyrank",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
    )
    # The agent tells the same at length that we tell in a line.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # As torchrun: ranks side by side would take each other's cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        elastic_launch(config, sys.executable)(*arguments_for(options, folder))
    except ChildFailedError as failed:
        return failed
    return None


def _read_records(folder: Path, world_size: int) -> list[Record]:
    files = [record_file(folder, rank) for rank in range(world_size)]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def _outcome(
    failed: ChildFailedError | None, records: list[Record]
) -> tuple[int, dict[str, Any] | None, str]:
    """The exit code and the error of the rank that failed first, and what is told of it."""
    if failed is None:
        return 0, None, ""
    told = [record for record in records if record["exit_code"] != 0]
    codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
    # Ranks without a record of their failure, but for those that the agent ended.
    silent = [
        rank
        for rank, code in sorted(codes.items())
        if code != -signal.SIGTERM and rank not in {record["rank"] for record in told}
    ]
    if told and not silent:
        first = min(told, key=lambda record: record["ended"])
        code = first["exit_code"]
        return code, first["error"], f"rank {first['rank']} failed first (exit code {code})\n"
    rank = silent[0] if silent else min(codes)
    if codes[rank] < 0:
        return (
            exit_codes.RAISED,
            None,
            f"the process of rank {rank} was ended by signal {-codes[rank]}\n",
        )
    return codes[rank], None, f"rank {rank} ended with exit code {codes[rank]}, without a record\n"
