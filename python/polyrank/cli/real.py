"""Runs a program in processes of its own on this machine, as torchrun does."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from polyrank.cli.json_report import json_document, write_json, write_text
from polyrank.cli.merged_records import Record, merged_report, merged_trace
from polyrank.cli.options import RunOptions
from polyrank.cli.real_worker import arguments_for, record_file
from polyrank.cli.report import print_report
from polyrank.cli.run import EXIT_RAISED, save

__all__ = ["run_real"]


def run_real(options: RunOptions) -> int:
    """Run the program, report what its ranks did, and return the exit code.

    PyTorch's elastic agent starts the processes; when one fails it ends the others. The exit code is
    that of the first to fail.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="polyrank-") as name:
        folder = Path(name)
        failed = _launch(options, folder)
        records = _read_records(folder, options.world_size)
    exit_code, error = _outcome(failed, records)
    report = merged_report(records, options.world_size, time.perf_counter() - started)
    if failed is not None and len(records) < options.world_size:
        missing = sorted(set(range(options.world_size)) - {record["rank"] for record in records})
        sys.stderr.write(f"without the records of ranks that were ended: {missing}\n")
    print_report(report)
    if (json_file := options.json_file) is not None:
        document = json_document(options, report, exit_code, error)
        exit_code = save(partial(write_json, json_file, document)) or exit_code
    if (trace_file := options.trace_file) is not None:
        exit_code = save(partial(write_text, trace_file, merged_trace(records))) or exit_code
    return exit_code


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
) -> tuple[int, dict[str, Any] | None]:
    """The exit code and the error of the rank that failed first."""
    if failed is None:
        return 0, None
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
        sys.stderr.write(f"rank {first['rank']} failed first (exit code {first['exit_code']})\n")
        return first["exit_code"], first["error"]
    rank = silent[0] if silent else min(codes)
    if codes[rank] < 0:
        sys.stderr.write(f"the process of rank {rank} was ended by signal {-codes[rank]}\n")
        return EXIT_RAISED, None
    sys.stderr.write(f"rank {rank} ended with exit code {codes[rank]}, without a record\n")
    return codes[rank], None
