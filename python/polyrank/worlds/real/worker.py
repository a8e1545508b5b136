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

import torch

from polyrank.output.written_whole import write_json
from polyrank.recording.trace import trace
from polyrank.worlds.device import device_as_asked
from polyrank.worlds.ending import ending_of
from polyrank.worlds.in_process import run_main
from polyrank.worlds.outcome import RunMeter
from polyrank.worlds.real.nccl_without_gpus import gloo_for_nccl
from polyrank.worlds.run_options import RunOptions

__all__ = ["arguments_for", "main", "record_file"]


def record_file(folder: Path, rank: int) -> Path:
    """Where a rank leaves its record."""
    return folder / f"rank{rank}.json"


def arguments_for(options: RunOptions, folder: Path) -> list[str]:
    """The command that starts a rank, after the interpreter."""
    fields = dataclasses.asdict(options) | {"json_file": None}
    del fields["around"]  # of worlds that run the script in this process
    for name in ("trace_file", "html_file"):
        fields[name] = fields[name] and str(fields[name])
    return ["-P", "-m", __name__, str(folder), json.dumps(fields)]


def main(folder: str, text: str) -> int:
    """Run the script, write the record, and return the exit code."""
    fields = json.loads(text)
    options = RunOptions(**fields | {"arguments": tuple(fields["arguments"])})
    rank = int(os.environ["RANK"])
    meter = RunMeter(options.world_size, rank)
    started = time.time()
    has_gpus = torch.cuda.is_available() and options.device != "cpu"  # and no virtual ones
    nccl = contextlib.nullcontext() if has_gpus else gloo_for_nccl()
    # gloo's and NCCL's collectives are counted by what watches them for a trace.
    with trace(source=options.is_traced) as recorded, device_as_asked(options), nccl:
        ending = ending_of(lambda: run_main(options))
        sys.stderr.write(ending.told)
        ended = time.time()
    write_json(
        record_file(Path(folder), rank),
        {
            "rank": rank,
            "started": started,
            "ended": ended,
            "exit_code": ending.exit_code,
            "error": ending.error,
            "report": dataclasses.asdict(meter.read()),
            "trace": json.loads(recorded.to_json()),
            "events": json.loads(recorded.to_chrome_trace())["traceEvents"],
        },
    )
    return ending.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
