"""The fake world: one rank alone, which gets from others what it sends them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from polyrank.world import RunningWorld, World

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = ["WORLD", "entered"]


class FakeWorld(World):
    """Runs the program as one rank of many."""

    name = "fake"
    summary = "one rank alone; what the others would send is what it sends"
    takes = frozenset({"rank"})
    has_blocks = True
    options = frozenset({"rank", "values", "checks"})

    def running(self) -> RunningWorld | None:
        from polyrank.fake.world import current_fake_world

        world = current_fake_world()
        return None if world is None else RunningWorld(self.name, world.size, world.rank)

    def run(self, options: RunOptions) -> Outcome:
        from polyrank.worlds.device import device_as_asked
        from polyrank.worlds.in_process import run_here, run_main

        options = dataclasses.replace(options, rank=options.rank or 0)
        return run_here(options, entered(options, device_as_asked(options)), run_main)

    @contextlib.contextmanager
    def surrounding(self, world_size: int, **options: Any) -> Iterator[None]:
        from polyrank.fake import fake_world

        with fake_world(world_size, **options):
            yield

    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        return [function()]


@contextlib.contextmanager
def entered(options: RunOptions, device: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """A block in which the process is the options' rank, and `cuda` is what `device` makes it."""
    from polyrank.install import install, uninstall
    from polyrank.worlds.environment import torchrun_environment
    from polyrank.worlds.process_group import fake_process_group

    rank = options.rank or 0
    with contextlib.ExitStack() as stack:
        install()
        stack.callback(uninstall)
        stack.enter_context(
            torchrun_environment(options.world_size, options.local_world_size, rank)
        )
        stack.enter_context(fake_process_group(options.world_size, rank))
        stack.enter_context(device)
        yield


WORLD = FakeWorld()
