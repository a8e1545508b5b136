"""The real world: each rank a process of its own on this machine, as under torchrun."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polyrank.world import RunningWorld, World

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = ["WORLD"]


class RealWorld(World):
    """Starts a process a rank with PyTorch's elastic agent."""

    name = "real"
    summary = "a process each on this machine, as torchrun"
    max_ranks = 1024  # each is a process of some hundred MB
    spans_nodes = False

    def running(self) -> RunningWorld | None:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            return RunningWorld(self.name, dist.get_world_size(), dist.get_rank())
        rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
        if not (rank.isdecimal() and size.isdecimal()):
            return None
        return RunningWorld(self.name, int(size), int(rank))

    def run(self, options: RunOptions) -> Outcome:
        from polyrank.worlds.real.launcher import run_processes

        return run_processes(options)

    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        from polyrank.errors import UsageError

        raise UsageError(
            "the real world runs scripts, each rank in a process of its own: start one with "
            '`polyrank run --world real`. Within a program take world="threads".'
        )


WORLD = RealWorld()
