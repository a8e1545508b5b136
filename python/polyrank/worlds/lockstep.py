"""The lockstep world: all ranks at the same line at once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from polyrank import exit_codes
from polyrank.world import RunningWorld, World

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = ["WORLD"]

_WAY_ON = (
    "Lockstep runs one program for all ranks. With `polyrank run --world processes`, or `--world threads` in "
    "one process, each rank runs its own.\n"
)


class LockstepWorld(World):
    """Runs the program once, for all ranks: where they hold the same they are one."""

    name = "lockstep"
    summary = "all ranks at the same line at once, for speed and size"
    takes = frozenset({"rank_env"})
    has_blocks = True

    def running(self) -> RunningWorld | None:
        from polyrank.tensor.active_modes import enabled_local_tensor_mode

        mode = enabled_local_tensor_mode()
        return None if mode is None else RunningWorld(self.name, len(mode.ranks), None)

    def run(self, options: RunOptions) -> Outcome:
        from polyrank.worlds.in_process import run_here, run_main

        return _with_a_way_on(run_here(options, _entered(options), run_main))

    @contextlib.contextmanager
    def surrounding(self, world_size: int, **options: Any) -> Iterator[None]:
        from polyrank.lockstep_world.lockstep import lockstep

        with lockstep(world_size, **options):
            yield

    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        return [function()]


def _with_a_way_on(outcome: Outcome) -> Outcome:
    """An outcome that names the worlds to take where the program needs ranks that run on their own."""
    is_refused = outcome.exit_code in (exit_codes.DIVERGENCE, exit_codes.UNSUPPORTED)
    if not is_refused or "`polyrank run --world" in outcome.failure:
        return outcome
    return dataclasses.replace(outcome, failure=outcome.failure + _WAY_ON)


@contextlib.contextmanager
def _entered(options: RunOptions) -> Iterator[None]:
    import torch

    from polyrank.install import install, uninstall
    from polyrank.lockstep_world.groups.process_groups import known_process_groups
    from polyrank.tensor.local_tensor_mode import LocalTensorMode
    from polyrank.virtual_gpu.rank_devices import each_ranks_gpu
    from polyrank.worlds.device import device_as_asked
    from polyrank.worlds.environment import torchrun_environment
    from polyrank.worlds.process_group import lockstep_process_group
    from polyrank.worlds.thread_errors import threads_end_the_run

    with contextlib.ExitStack() as stack:
        install()
        stack.callback(uninstall)
        stack.enter_context(
            torchrun_environment(
                options.world_size, options.local_world_size, rank_env=options.rank_env
            )
        )
        stack.enter_context(known_process_groups())
        stack.enter_context(lockstep_process_group(options.world_size, options.local_world_size))
        stack.enter_context(device_as_asked(options))
        if torch.cuda.is_available():
            stack.enter_context(each_ranks_gpu())
        mode = LocalTensorMode(options.world_size)
        mode.refuses_unheard_errors = True
        with mode, threads_end_the_run():
            yield


WORLD = LockstepWorld()
