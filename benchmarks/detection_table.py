"""Runs examples/broken_programs.py on ranks that are threads and in gloo's processes, side by side.

    python benchmarks/detection_table.py            # writes docs/broken_programs.md

For each program: what each says first, and after how long. Processes get a time-out of some seconds
instead of the usual half an hour, without and with TORCH_DISTRIBUTED_DEBUG=DETAIL.
"""

import argparse
import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch.distributed as dist

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from broken_programs import PROGRAMS  # noqa: E402

WORLD_SIZE = 4
LONGEST = 230  # characters of an error that the table shows
PATIENCE = 2.5  # time-outs after which a program that says nothing is called hanging

HEAD = """# Programs that hang or disagree

What does polyrank say of a program that hangs or disagrees, and what do gloo's processes say? The table has {count} broken
programs for 4 ranks, with the first error of each and the time until it came. A program with an issue's number is a small form
of what was reported there.

[examples/broken_programs.py](../examples/broken_programs.py) has all programs, and runs them on ranks of both kinds. Each is a
test (tests/python/threads/test_broken_programs.py). The processes had a time-out of {timeout:g} s. The default is 30 min, so an
error that takes {timeout:g} s in this table takes half an hour elsewhere. "DETAIL" is TORCH_DISTRIBUTED_DEBUG=DETAIL.
`python benchmarks/detection_table.py` writes this page.

| program | polyrank, ranks as threads | gloo's processes | with DETAIL |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Outcome:
    """What a program came to."""

    seconds: float
    text: str  # of the first error; empty: none

    def __str__(self) -> str:
        return self.text or "ends without an error"


def shorten(text: str) -> str:
    """The first lines of an error, without what differs from run to run."""
    text = re.sub(r"\[[^\]]*\.(cpp|cc|h):\d+\] ?", "", text.partition("\nException raised from")[0])
    text = text.partition("\nEvery rank of a group must launch the same")[0]
    text = re.sub(r"\[127\.0\.0\.1\]:\d+|0x[0-9a-f]+", "…", text)
    text = re.sub(r"/\S*/(broken_programs\.py)", r"\1", " ".join(text.split()))
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…").replace("|", "\\|")


# --- Ranks as threads -----------------------------------------------------------------------------


def run_in_threads(name: str) -> Outcome:
    """The first error of the ranks, without the time that first imports take."""
    run_once_in_threads(name)
    return run_once_in_threads(name)


def run_once_in_threads(name: str) -> Outcome:
    import polyrank

    start = time.perf_counter()
    try:
        polyrank.run_ranks(PROGRAMS[name][0], WORLD_SIZE)
    except polyrank.RanksFailedError as failed:
        first = failed.exceptions[0]
        return Outcome(time.perf_counter() - start, f"{type(first).__name__}: {first}")
    return Outcome(time.perf_counter() - start, "")


# --- Processes ------------------------------------------------------------------------------------


def run_rank(name: str, rank: int, store: str, timeout: float, result: Connection) -> None:
    """A process: tells its outcome, or dies."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    dist.init_process_group(
        "gloo",
        rank=rank,
        world_size=WORLD_SIZE,
        store=dist.FileStore(store, WORLD_SIZE),
        timeout=timedelta(seconds=timeout),
    )
    dist.barrier()
    start = time.perf_counter()
    try:
        PROGRAMS[name][0]()
        text = ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        text = f"{type(error).__name__}: {error}"
    result.send(Outcome(time.perf_counter() - start, text))
    os._exit(0)


@contextlib.contextmanager
def processes(name: str, timeout: float, debug: str) -> Iterator[list[Connection]]:
    """One process a rank; those that still run at the end are killed."""
    os.environ["TORCH_DISTRIBUTED_DEBUG"] = debug
    dist.set_debug_level_from_env()
    fork = multiprocessing.get_context("fork")  # they have imported torch already
    with tempfile.TemporaryDirectory() as folder:
        results = []
        started = []
        for rank in range(WORLD_SIZE):
            receiver, sender = fork.Pipe(duplex=False)
            arguments = (name, rank, f"{folder}/store", timeout, sender)
            process = fork.Process(target=run_rank, args=arguments)
            process.start()
            sender.close()
            started.append(process)
            results.append(receiver)
        try:
            yield results
        finally:
            for process in started:
                process.kill()
                process.join()


def run_in_processes(name: str, timeout: float, debug: str) -> Outcome:
    """The first error of the ranks, as torchrun would end the others then."""
    deadline = time.perf_counter() + PATIENCE * timeout
    with processes(name, timeout, debug) as waiting:
        while waiting:
            ready = wait(waiting, timeout=max(0.0, deadline - time.perf_counter()))
            if not ready:
                return Outcome(PATIENCE * timeout, "hangs, without an error")
            for result in ready:
                waiting.remove(result)
                try:
                    outcome = result.recv()
                except EOFError:
                    return Outcome(0.0, "a process dies")
                if outcome.text:
                    return outcome
    return Outcome(0.0, "")


def time_of(outcome: Outcome) -> str:
    if not outcome.seconds:
        return ""
    if outcome.seconds < 1:
        return f"{outcome.seconds * 1000:.0f} ms: "
    return f"{outcome.seconds:.0f} s: "


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=10, help="of the processes, in seconds")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "broken_programs.md")
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS), help="only these")
    options = parser.parse_args()

    in_processes = {
        (name, debug): run_in_processes(name, options.timeout, debug)
        for name in options.programs
        for debug in ("OFF", "DETAIL")
    }
    rows = []
    for name in options.programs:  # after the forks, which want a process without threads
        outcomes = (run_in_threads(name), in_processes[name, "OFF"], in_processes[name, "DETAIL"])
        cells = (f"{time_of(outcome)}{shorten(str(outcome))}" for outcome in outcomes)
        issue = PROGRAMS[name][1]
        title = f"`{name}`" + (f", {issue}" if issue else "")
        rows.append(f"| {title} | {' | '.join(cells)} |\n")
        print(rows[-1], end="", flush=True)
    head = HEAD.format(count=len(options.programs), timeout=options.timeout)
    options.output.write_text(head + "".join(rows))


if __name__ == "__main__":
    main()
