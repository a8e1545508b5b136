"""The random streams that ranks draw from, and the draw at which those of two ranks part.

NOTE [Random streams]
A generator's state is what ranks hold, as a tensor is, and each draw writes it. A state that is not the
one that the last draw left was set: the program seeded the stream, and what it is from there on says
nothing of the draws before. So two ranks' streams either were seeded differently, which the program says
itself, or there is a first draw that only one of them made, or of which they drew different numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.blame import differs
from polyrank.divergence.content import Content, content_of
from polyrank.divergence.operations import Key, Operand, Operation

__all__ = [
    "CPU_STREAM",
    "RANDOM_STREAM",
    "Parting",
    "Streams",
    "draws",
    "parting_of",
    "state_of",
]

RANDOM_STREAM, CPU_STREAM = "random stream", "of the CPU"  # kind and name


class Parting(NamedTuple):
    """Where two ranks' streams, which were the same before, part."""

    operation: Operation
    only_on: int | None  # the rank that alone drew; None: both did, different numbers

    def cause(self, ranks: tuple[int, int]) -> str:
        """What is wrong with the draw."""
        if self.only_on is None:
            what = f"{rank_names(ranks)} draw different numbers of values from their random streams"
        else:
            other = ranks[1] if self.only_on == ranks[0] else ranks[0]
            what = f"rank {self.only_on} draws from its random stream, and rank {other} does not"
        return f"{what}: what they draw from then on differs"


def state_of(generator: torch.Generator | None) -> torch.Tensor:
    """The state on each rank that runs this line; None: of the CPU's own generator."""
    if generator is None or generator is torch.default_generator:
        return torch.get_rng_state()  # in lockstep each rank's
    return generator.get_state()


@functools.cache
def draws(func: Any) -> bool:
    """Whether the operator draws from a random stream. Not each that takes a generator has torch's tag."""
    takes = any("Generator" in str(argument.type) for argument in func._schema.arguments)
    return takes or torch.Tag.nondeterministic_seeded in func.tags


class Streams:
    """What draws the calling thread made of each generator."""

    def __init__(self, ranks: Sequence[int]) -> None:
        self.ranks = ranks
        # The draw that left a state, of the CPU's generator and of others: an operator's generator is
        # another Python object each time.
        self._left: dict[tuple[bool, Content | None], Operation] = {}

    def read(self, values: Sequence[Any], operation: Operation) -> torch.Generator | None:
        """Note the state that a draw with these values for arguments finds; gives the generator.

        None: it draws from a generator that is not looked at, a GPU's own.
        """
        given = next((value for value in values if isinstance(value, torch.Generator)), None)
        on_cpu = all(
            value.device.type == "cpu" for value in values if isinstance(value, torch.Tensor)
        ) and all(value.type == "cpu" for value in values if isinstance(value, torch.device))
        if given is None and not on_cpu:
            return None
        generator = torch.default_generator if given is None else given
        operation.stream = self.now(generator)
        return generator

    def note_drawn(self, generator: torch.Generator, operation: Operation) -> None:
        """The operation has drawn from the generator."""
        self._left[self._state(generator)[1]] = operation

    def now(self, generator: torch.Generator) -> Operand:
        """The generator's state, as written by the draw that left it so, if one did."""
        state, key = self._state(generator)
        drawn = self._left.get(key)
        writers = () if drawn is None else (drawn,)
        name = CPU_STREAM if generator is torch.default_generator else RANDOM_STREAM
        return Operand(name, key[1], tuple(state.shape), writers)

    def _state(
        self, generator: torch.Generator
    ) -> tuple[torch.Tensor, tuple[bool, Content | None]]:
        state = state_of(generator)
        is_cpus = generator is torch.default_generator
        return state, (is_cpus, content_of(state, self.ranks))


def parting_of(
    streams: tuple[Operand, Operand],
    logs: tuple[Mapping[Key, Operation], Mapping[Key, Operation]],
    ranks: tuple[int, int],
) -> Parting | None:
    """Where two ranks' streams part, which are these in the end; None: they were seeded apart."""
    mine, theirs = _draws(streams[0]), _draws(streams[1])
    if differs(_state(mine, 0, streams[0]), _state(theirs, 0, streams[1]), ranks):
        return None
    for index, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a.key != b.key:
            alone = a.key not in logs[1] or b.key in logs[0]
            return Parting(a, ranks[0]) if alone else Parting(b, ranks[1])
        left = _state(mine, index + 1, streams[0]), _state(theirs, index + 1, streams[1])
        if differs(*left, ranks):
            return Parting(a, None)
    shorter = min(len(mine), len(theirs))
    rest = [(mine[shorter:], ranks[0]), (theirs[shorter:], ranks[1])]
    return next((Parting(draws[0], rank) for draws, rank in rest if draws), None)


def _draws(stream: Operand) -> list[Operation]:
    """Those since the stream was seeded, the first first."""
    found: list[Operation] = []
    before: Operand | None = stream
    while before is not None and before.writers:
        found.append(before.writers[0])
        before = before.writers[0].stream
    return found[::-1]


def _state(draws: Sequence[Operation], index: int, end: Operand) -> Operand:
    """The stream before the draw of that index, or in the end."""
    stream = draws[index].stream if index < len(draws) else end
    assert stream is not None  # noqa: S101  draws are found by their streams
    return stream
