"""The threads world: each rank a thread, one at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from polyrank.world import RunningWorld, World

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = ["WORLD"]


class ThreadsWorld(World):
    """Runs the program once a rank, in turns."""

    name = "threads"
    summary = "each rank a thread, which may branch on its rank; runs anything"
    takes = frozenset({"schedule", "seed", "schedules", "own_module", "shared_module", "log_dir"})
    options = frozenset({"schedule", "seed", "own_modules"})

    def running(self) -> RunningWorld | None:
        from polyrank.rank_threads.rank_globals import rank_globals

        own = rank_globals()
        return (
            None if own is None else RunningWorld(self.name, own.world_size, own.rank_thread.rank)
        )

    def run(self, options: RunOptions) -> Outcome:
        from polyrank.worlds.in_process import run_here

        on_rank = partial(_on_rank, options)
        program = partial(_run_schedules, on_rank=on_rank)
        return run_here(options, _entered(options), program, counts_all_ranks=True)

    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        from polyrank.rank_threads import run_ranks

        return run_ranks(function, world_size, **options)


@contextlib.contextmanager
def _entered(options: RunOptions) -> Iterator[None]:
    from polyrank.worlds.device import device_as_asked
    from polyrank.worlds.environment import torchrun_environment

    with (
        torchrun_environment(options.world_size, options.local_world_size, by_thread=True),
        device_as_asked(options),
    ):
        yield


def _run_schedules(
    options: RunOptions, on_rank: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    """Run the script in as many schedules as were asked for, up to the first that fails."""
    from polyrank.rank_threads import Script, run_script
    from polyrank.worlds.in_process import as_main

    with as_main(options):
        script = Script(options.script, is_module=options.is_module)
        for one in options.of_schedules():
            try:
                run_script(
                    script,
                    options.world_size,
                    on_rank,
                    schedule=one.schedule or "in_turn",
                    seed=one.seed,
                    own_modules=options.own_modules,
                    shared_modules=options.shared_modules,
                    tells_shared=options.is_verbose,
                    log_folder=one.log_folder,
                )
            except BaseException:
                sys.stderr.write(one.replay())
                raise


@contextlib.contextmanager
def _on_rank(options: RunOptions, rank: int) -> Iterator[None]:
    """What surrounds the script on the thread of one rank."""
    from polyrank.any_world.torchrun_variables import variables_of_rank

    os.environ.update(variables_of_rank(rank, options.local_world_size))
    with options.around():
        yield


WORLD = ThreadsWorld()
