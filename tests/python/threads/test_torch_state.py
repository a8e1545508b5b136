"""What of torch is mutable and one per process is in the tables, and stays as they say."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from polyrank.rank_threads.own_state import OWN_STATE
from polyrank.rank_threads.shared_state import SHARED_STATE, WRITTEN_AT_IMPORT
from threads.own_state_programs import PROGRAMS
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "list_torch_state.py"
NEW_MODULE = """
import functools
TABLE, READ_ALONE, NUMBER = {}, {}, 0
class Kept:
    kept = None
    @classmethod
    def keep(cls, value): cls.kept = value
    def change(self): self.value = 1
KEPT = Kept()
@functools.cache
def answer(): ...
def change(value):
    global NUMBER
    NUMBER = TABLE[value] = value
"""
CHECK_WITH_NEW_MODULE = """
import runpy, sys, types, torch
module = types.ModuleType("torch.anew")
exec(sys.argv[1], vars(module))
sys.modules[module.__name__] = module
script = sys.argv[2]
sys.argv[1:] = ["--check"]
runpy.run_path(script, run_name="__main__")
"""


def test_all_state_of_the_installed_torch_is_in_a_table() -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = [line for line in run.stderr.splitlines() if "table" in line or "has no" in line]
    assert (run.returncode, said) == (0, [])


def test_what_is_new_is_told_by_name() -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHECK_WITH_NEW_MODULE, NEW_MODULE, SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 1
    told = [line.split(" is in no table")[0] for line in run.stderr.splitlines() if "anew" in line]
    assert told == [
        "object torch.anew.KEPT",
        "attribute torch.anew.Kept.kept",
        "rebound torch.anew.NUMBER",
        "container torch.anew.TABLE",
        "cache torch.anew.answer",
    ]


def state_of_torch() -> Iterator[tuple[str, Any]]:
    """Names and contents of what loaded modules of torch and their classes hold."""
    modules = {
        name: module
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "torch" and isinstance(module, types.ModuleType)
    }
    for name, module in modules.items():
        for attribute, value in tuple(vars(module).items()):
            if attribute == "__warningregistry__":
                continue  # Python's
            yield f"{name}.{attribute}", content(value)
            if issubclass(type(value), type) and value.__module__ == name:
                for of_class, held in tuple(vars(value).items()):
                    yield f"{name}.{attribute}.{of_class}", content(held)


def content(value: Any) -> Any:
    """What can be compared later: entries by identity."""
    kind = type(value)
    if issubclass(kind, dict):
        return [(id(key), id(entry)) for key, entry in value.items()]
    if issubclass(kind, list | set):
        return sorted(map(id, value))
    return value if kind in (bool, int, str) else id(value)


def of_all_kinds() -> None:
    """One program that uses much of torch.distributed."""
    for program in PROGRAMS.values():
        program()
    rank = dist.get_rank()
    ddp = nn.parallel.DistributedDataParallel(nn.Linear(4, 4))
    ddp(torch.ones(2, 4)).sum().backward()
    optimizer = ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.SGD, lr=0.1)
    optimizer.step()
    schedule = ScheduleGPipe(PipelineStage(nn.Linear(4, 4), rank, 4, torch.device("cpu")), 4)
    schedule.step(*([torch.ones(4, 4)] if rank == 0 else []))
    if rank == 0:
        with torch.profiler.profile():
            torch.ones(1)
    dist.barrier()


def test_programs_change_nothing_but_what_is_shared_for_a_reason() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        polyrank.run_ranks(of_all_kinds, 4)  # loads modules, and fills what is filled once
        before = dict(state_of_torch())
        polyrank.run_ranks(of_all_kinds, 4)
        after = dict(state_of_torch())
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    own = {name for row in OWN_STATE for name in row.full_names()}
    allowed = [part for row in SHARED_STATE if row.why != WRITTEN_AT_IMPORT for part in row.names]
    assert len(before) > 10_000
    assert not changed & own
    unexpected = {n for n in changed if not any(fnmatchcase(n, part) for part in allowed)}
    assert not unexpected
