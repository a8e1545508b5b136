"""What `polyrank run` was asked to do, checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["RunOptions", "script_folder"]


def script_folder(script: str, *, is_module: bool) -> str:
    """What stands first in sys.path of a script or module, as `python` has it."""
    return "" if is_module else str(Path(script).resolve().parent)


@dataclass(frozen=True)
class RunOptions:
    """One run of a program."""

    script: str  # a file, or with is_module a module's name
    arguments: tuple[str, ...]
    is_module: bool
    world: str  # its name
    world_size: int
    local_world_size: int  # ranks a node
    device: str | None  # "cpu", "cuda" or None: decide by what the machine has
    json_file: Path | None  # where to write the report; absolute
    rank: int | None = None  # the one that runs, in the fake world
    trace_file: Path | None = None  # where to write the trace; absolute
    html_file: Path | None = None  # where to write the page; absolute
    rank_env: str = (
        "ask"  # in lockstep, what RANK and its like are: "ask" is each rank's own, "0" rank 0's
    )
    # Entered around the script: on each rank's thread, or in lockstep once; not in other worlds.
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    # Where ranks go one at a time, "in_turn" or "random": who is next; None: as the world has it
    schedule: str | None = None
    seed: int = 0  # of the first schedule
    num_schedules: int = 1  # how many to try, with seeds that follow each other
    # Of the threads world:
    shared_modules: tuple[str, ...] = ()  # packages of which there is one for all ranks
    own_modules: tuple[str, ...] = ()  # packages of which each rank has one, though it would not
    is_verbose: bool = False  # tells which packages ranks share
    log_folder: Path | None = None  # where ranks' output goes; absolute
    # Of the processes world:
    timeout_seconds: float | None = None
    preloaded: tuple[str, ...] = ()  # modules that are imported before ranks are forked
    debug_rank: int | None = None  # which has the terminal
    num_hash_seeds: int = 1  # salts of string hashes among the ranks

    @property
    def is_traced(self) -> bool:
        """Whether launches are recorded: a file wants them."""
        return self.trace_file is not None or self.html_file is not None

    def put_folder_in_front(self) -> None:
        """Put the script's folder into sys.path, in place of the command's own, as `python` does."""
        folder = script_folder(self.script, is_module=self.is_module)
        sys.path[: 0 if sys.flags.safe_path else 1] = [folder]

    def of_schedules(self) -> Iterator[RunOptions]:
        """Those of each schedule that is to be tried."""
        for seed in range(self.seed, self.seed + self.num_schedules):
            folder = self.log_folder
            if folder is not None and self.num_schedules > 1:
                folder /= f"seed_{seed}"
            yield replace(self, seed=seed, num_schedules=1, log_folder=folder)

    def replay(self) -> str:
        """How to run this schedule again, after it has failed; nothing where nothing was drawn."""
        if self.schedule != "random":
            return ""
        return (
            f"failed with seed {self.seed}; --schedule random --seed {self.seed} does the same "
            "again\n"
        )
