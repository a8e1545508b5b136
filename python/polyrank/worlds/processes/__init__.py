"""The processes world: each rank a process, forked off one that has PyTorch warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polyrank import exit_codes
from polyrank.world import RunningWorld, World

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = ["WORLD"]


class ProcessesWorld(World):
    """Forks a process a rank off this one."""

    name = "processes"
    summary = (
        "each rank a process, forked off one that has PyTorch warm; what torchrun gives a program"
    )
    takes = frozenset(
        {"schedule", "seed", "schedules", "log_dir", "timeout"}
        | {"preload", "debug_rank", "hash_seeds"}
    )
    options = frozenset({"schedule", "seed"})

    def why_no_room(self, world_size: int, *, is_asked_for: bool = True) -> str | None:
        from polyrank.process_ranks.room import why_no_room

        return why_no_room(world_size, is_asked_for=is_asked_for)

    def running(self) -> RunningWorld | None:
        from polyrank.process_ranks.this_process import rank_of_process

        own = rank_of_process()
        return None if own is None else RunningWorld(self.name, own.world_size, own.rank)

    def run(self, options: RunOptions) -> Outcome:
        if options.num_hash_seeds > 1:
            from polyrank.process_ranks.salts import start_with_salts

            reason = start_with_salts(
                options.num_hash_seeds, options.world_size, options.schedule, options.seed
            )
            if reason is not None:
                from polyrank.worlds.merged_records import merged_report
                from polyrank.worlds.outcome import Outcome

                report = merged_report([], options.world_size, 0.0)
                return Outcome(exit_codes.USAGE, report, failure=f"--hash-seeds: {reason}\n")
        from polyrank.worlds.processes.launching import run_in_processes

        return run_in_processes(options)

    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        from polyrank.rank_threads import run_ranks

        return run_ranks(function, world_size, world=self.name, **options)


WORLD = ProcessesWorld()
