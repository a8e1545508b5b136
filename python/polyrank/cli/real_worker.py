"""One rank of `polyrank run --world real`: a process of its own, which leaves its record in a file.

Started as a module, with the folder of the records and the run's options as arguments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from polyrank.cli.device import cuda_on_cpu
from polyrank.cli.json_report import write_json
from polyrank.cli.options import RunOptions
from polyrank.cli.report import RunMeter
from polyrank.cli.run import exit_code_of, run_as_main, uses_cpu_for_cuda
from polyrank.trace import trace

__all__ = ["arguments_for", "main", "record_file"]


def record_file(folder: Path, rank: int) -> Path:
    """Where a rank leaves its record."""
    return folder / f"rank{rank}.json"


def arguments_for(options: RunOptions, folder: Path) -> list[str]:
    """The command that starts a rank, after the interpreter."""
    fields = dataclasses.asdict(options) | {"json_file": None}
    fields["trace_file"] = options.trace_file and str(options.trace_file)
    return ["-P", "-m", __name__, str(folder), json.dumps(fields)]


def main(folder: str, text: str) -> int:
    """Run the script, write the record, and return the exit code."""
    fields = json.loads(text)
    options = RunOptions(**fields | {"arguments": tuple(fields["arguments"])})
    rank = int(os.environ["RANK"])
    meter = RunMeter(options.world_size, rank)
    started = time.time()
    error: dict[str, Any] | None = None
    # gloo's and NCCL's collectives are counted by what watches them for a trace.
    with trace(source=options.trace_file is not None) as recorded, contextlib.ExitStack() as stack:
        if uses_cpu_for_cuda(options):
            stack.enter_context(cuda_on_cpu(options.local_world_size))
        exit_code, raised = exit_code_of(lambda: run_as_main(options))
        if raised is not None:
            error = {"type": type(raised).__name__, "message": str(raised)}
        ended = time.time()
    write_json(
        record_file(Path(folder), rank),
        {
            "rank": rank,
            "started": started,
            "ended": ended,
            "exit_code": exit_code,
            "error": error,
            "report": dataclasses.asdict(meter.read()),
            "trace": json.loads(recorded.to_json()),
            "events": json.loads(recorded.to_chrome_trace())["traceEvents"],
        },
    )
    return exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
