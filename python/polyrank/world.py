"""Worlds: the ways to run a program's ranks. One protocol, one registry, one answer to which is on.

A new world is a module or folder of `polyrank.worlds` that defines `WORLD`, and a line in `_NAMES`.
What a world says of itself costs no import of torch: `polyrank run` reads its arguments with it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from polyrank.world_size import MAX_RANKS

if TYPE_CHECKING:
    from polyrank.worlds.outcome import Outcome
    from polyrank.worlds.run_options import RunOptions

__all__ = [
    "RunningWorld",
    "World",
    "current_world",
    "default_world",
    "find_world",
    "worlds",
]

# Names of all worlds, as they are asked whether they are on: a rank that is a process may run rank
# threads, and the real one takes any process group for its own.
_NAMES = ("threads", "lockstep", "fake", "processes", "real")
# What runs a script unless told otherwise: the first that takes its options and has room.
_DEFAULTS = ("processes", "threads")


@dataclass(frozen=True)
class RunningWorld:
    """The world that the calling thread runs in."""

    name: str
    size: int
    rank: int | None  # who the thread is; None: all ranks at once


class World(ABC):
    """One way to run the ranks of a program.

    The members that have a default are those that not every world has.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # how it runs ranks: reads on from "--world NAME: "
    # Options of `polyrank run` that not every world takes, by their fields in RunOptions.
    takes: ClassVar[frozenset[str]] = frozenset()
    # Options of surrounding() and call().
    options: ClassVar[frozenset[str]] = frozenset()
    max_ranks: ClassVar[int] = MAX_RANKS
    spans_nodes: ClassVar[bool] = True  # whether --nnodes may be more than 1
    has_blocks: ClassVar[bool] = (
        False  # whether a block of a program may be its ranks: surrounding()
    )

    def why_no_room(self, world_size: int, *, is_asked_for: bool = True) -> str | None:
        """Why this machine can't run so many ranks in this world; None: it can.

        A world that is not asked for by name may want to be sure.
        """
        if world_size > self.max_ranks:
            return f"{world_size:,} ranks are more than {self.max_ranks:,}, the most of --world {self.name}"
        return None

    @abstractmethod
    def running(self) -> RunningWorld | None:
        """What current_world() says if the calling thread runs in this world, else None."""

    @abstractmethod
    def run(self, options: RunOptions) -> Outcome:
        """Run a script to its end, and tell what it did.

        Ranks may be processes: what they printed has been written when this returns, and the outcome
        holds what their records said.
        """

    @contextlib.contextmanager
    def surrounding(self, world_size: int, **options: Any) -> Iterator[None]:
        """A block that the calling thread runs as this world's ranks, if it has_blocks."""
        yield

    @abstractmethod
    def call(self, function: Callable[[], Any], world_size: int, **options: Any) -> list[Any]:
        """Call the function on each rank, inside of surrounding(); what each call returned.

        Raises:
            UsageError: ranks of this world can't be started from within a program.
        """


@functools.cache
def find_world(name: str) -> World:
    """The world of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in _NAMES:
        from polyrank.errors import UsageError

        raise UsageError(f"there is no world {name!r}; there are {', '.join(_NAMES)}")
    world: World = importlib.import_module(f"polyrank.worlds.{name}").WORLD
    return world


def worlds() -> list[World]:
    """All worlds."""
    return [find_world(name) for name in _NAMES]


def default_world(world_size: int, options: frozenset[str]) -> tuple[World, str | None]:
    """What runs a script that is given these options, and why it is not the first choice, if so."""
    able = [world for name in _DEFAULTS if options <= (world := find_world(name)).takes]
    if not able:
        return find_world(_DEFAULTS[0]), None
    reasons = [world.why_no_room(world_size, is_asked_for=False) for world in able]
    chosen = next((i for i, reason in enumerate(reasons) if reason is None), 0)
    return able[chosen], reasons[0] if chosen else None


def current_world() -> RunningWorld | None:
    """The world that the calling thread runs in: a rank's, that of all ranks, or None.

    A process of torchrun's, or one that has made a process group by itself, runs in the real world.
    """
    return next((on for world in worlds() if (on := world.running()) is not None), None)
