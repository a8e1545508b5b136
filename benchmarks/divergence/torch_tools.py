"""What PyTorch's own tools say of the programs of tests/divergence_programs, beside what polyrank says.

    python benchmarks/divergence/torch_tools.py          # writes the table of docs/divergence.md

Each program runs as processes of gloo, forked off this one, with its fault and without:

- plain, with DistributedDataParallel's checks, which are on by default;
- with TORCH_DISTRIBUTED_DEBUG=DETAIL;
- with DebugMode on each rank, its hashes of tensors logged: what two runs are compared by, one rank's log
  beside another's. The programs of `polyrank check reference` run on one rank, too;
- with the flight recorder's buffer on, which is read as each program ends.

A tool singles a fault out if it says of the faulty program what it does not say of the right one.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch_tools_worker import SECONDS, Job, run_rank

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "divergence.md"
START, END = "<!-- torch's tools: start -->", "<!-- torch's tools: end -->"
ARGUMENTS = ("wrong", "right")


@dataclass(frozen=True)
class Tool:
    """Something that PyTorch offers."""

    name: str  # in the table
    variables: dict[str, str]
    mode: str = ""  # of the worker
    ranks: tuple[int, ...] = (4,)  # world sizes


TOOLS = (
    Tool("nothing but DDP's checks", {}),
    Tool("DETAIL", {"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}),
    Tool("DebugMode", {}, mode="debug_mode", ranks=(4, 1)),
    Tool("flight recorder", {"TORCH_FR_BUFFER_SIZE": "2000"}, mode="flight_recorder"),
)


def programs() -> list[tuple[str, Path]]:
    """The faulty ones, with the check that finds them."""
    folder = ROOT / "tests" / "divergence_programs"
    return [
        (check, file)
        for check in ("agreement", "reference")
        for file in sorted((folder / check).glob("*.py"))
        if "# fault: " in file.read_text()
    ]


def run_all(tool: Tool, num_ranks: int, jobs: list[tuple[str, str]]) -> dict:
    """What each rank said of each (file, argument); of a job in which a rank died, how."""
    told: dict[tuple[str, str], dict] = {}
    for file, argument in jobs:
        with tempfile.TemporaryDirectory(prefix="polyrank-") as folder:
            job = Job(file, argument, tool.mode, num_ranks, tool.variables)
            told[file, argument] = run_job(job, Path(folder))
    return told


def run_job(job: Job, folder: Path) -> dict:
    """One process a rank, forked off this one, which has imported torch."""
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=run_rank, args=(job, r, folder)) for r in range(job.num_ranks)]
    for process in started:
        process.start()
    deadline = time.monotonic() + 2 * SECONDS
    while time.monotonic() < deadline and any(process.is_alive() for process in started):
        if any((process.exitcode or 0) < 0 for process in started):
            break  # the others wait for it
        time.sleep(0.05)
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
        process.join()
    # Those that a rank left alone end with errors that say nothing of the program.
    signals = [code for code in codes if code is not None and code < 0]
    if signals:
        return {"ended": f"signal {-signals[0]}"}
    if None in codes:
        return {"ended": "hangs"}
    return {"ranks": [json.loads((folder / str(r)).read_text()) for r in range(job.num_ranks)]}


def first_difference(logs: list[list], others: list[list]) -> str:
    """The first call that the two logs have differently; empty: none."""
    for (name, hashes), (other, others_hashes) in zip(logs, others, strict=False):
        if name != other:
            return f"{name} beside {other}"
        if hashes != others_hashes:
            return name
    return "" if len(logs) == len(others) else "one log is longer"


def said(tool: Tool, told: dict, alone: dict | None) -> str:
    """What one run with the tool said; empty: nothing."""
    if "ended" in told:
        return told["ended"]
    errors = [rank["error"] for rank in told["ranks"] if rank["error"]]
    if errors:
        return errors[0]
    if tool.mode == "debug_mode":
        logs = [rank["calls"] for rank in told["ranks"]]
        others = logs[1:] if alone is None else [alone["ranks"][0]["calls"]]
        return next((d for other in others if (d := first_difference(logs[0], other))), "")
    if tool.mode == "flight_recorder":
        kinds = {json.dumps(rank["collectives"]) for rank in told["ranks"]}
        return "ranks have other collectives" if len(kinds) > 1 else ""
    return ""


def rows(tools: dict[str, dict]) -> list[dict]:
    """One a program: by tool, what it said of the faulty one and of the right one."""
    found = []
    for check, file in programs():
        row: dict = {"check": check, "program": file.stem}
        for tool in TOOLS:
            runs = tools[tool.name]
            pair = []
            for argument in ARGUMENTS:
                key = (str(file), argument)
                alone = runs[1][key] if check == "reference" and 1 in runs else None
                pair.append(said(tool, runs[4][key], alone))
            row[tool.name] = pair
        found.append(row)
    return found


def cell(tool: Tool, pair: list[str]) -> str:
    """Of the table of all programs."""
    wrong, right = pair
    if not wrong:
        return "silent"
    if wrong == right:
        return "the same of the right one"
    if right and tool.mode == "debug_mode":
        return "differs, as the right one does"
    return wrong if not right else f"{wrong}; of the right one {right}"


def table(found: list[dict]) -> str:
    """How many programs come to what, a row a tool."""
    lines = ["| tool | of the faulty programs | faults singled out |", "|---|---|---|"]
    for tool in TOOLS:
        pairs = [row[tool.name] for row in found]
        kinds = Counter(_kind(tool, pair) for pair in pairs)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        singled = sum(bool(wrong) and not right for wrong, right in pairs)
        lines.append(f"| {tool.name} | {told} | {singled} of {len(pairs)} |")
    return "\n".join(lines)


def _kind(tool: Tool, pair: list[str]) -> str:
    wrong, right = pair
    if not wrong:
        return "silent"
    if tool.mode == "debug_mode" and not wrong.startswith("signal"):
        if not right:
            return "differ, and their twins do not"
        same = "at the same call" if wrong == right else "at another call"
        return f"differ, and so do their twins, {same}"
    return f"{wrong}{', as their twins' if wrong == right else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write what each tool said of each program here")
    parser.add_argument("--print", action="store_true", help="print the table, change no page")
    args = parser.parse_args()
    jobs = [(str(file), argument) for _, file in programs() for argument in ARGUMENTS]
    tools = {}
    for tool in TOOLS:
        tools[tool.name] = {n: run_all(tool, n, jobs) for n in tool.ranks}
    found = rows(tools)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    text = table(found)
    print(text)
    if not args.print:
        page = PAGE.read_text()
        before, rest = page.split(START)
        PAGE.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
