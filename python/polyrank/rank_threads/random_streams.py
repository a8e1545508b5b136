"""The streams of `random` and `numpy.random`, of each rank its own."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ["RandomStream", "random_streams"]


@dataclass(frozen=True)
class RandomStream:
    """Where a library has the one generator that its functions use.

    The functions are methods of the generator of the process. To have each rank's used, they
    are replaced by ones that look up which is in place.
    """

    module: ModuleType
    name: str  # in the module
    make: Callable[[int], Any]  # a rank's generator, unlike on other ranks, as in processes
    others: tuple[ModuleType, ...] = ()  # that have the functions too

    @contextlib.contextmanager
    def looked_up(self) -> Iterator[None]:
        """Let the functions use the generator that is in place."""
        generator = getattr(self.module, self.name)
        replaced = [
            (vars(module), name, function)
            for module in (self.module, *self.others)
            for name, function in tuple(vars(module).items())
            if getattr(function, "__self__", None) is generator
        ]
        for namespace, name, function in replaced:
            namespace[name] = self._looking_up(function)
        try:
            yield
        finally:
            for namespace, name, function in replaced:
                namespace[name] = function

    def _looking_up(self, function: Callable[..., Any]) -> Callable[..., Any]:
        namespace, name, method = vars(self.module), self.name, function.__name__

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            return getattr(namespace[name], method)(*args, **options)

        return call


def random_streams(seed: int | None) -> list[RandomStream]:
    """Those of `random`, and of numpy if the process has it.

    Generators are seeded with the seed and the rank; without one with what the process's
    would draw next (but does not) and the rank.
    """
    if seed is None:
        seed = copy.copy(random._inst).getrandbits(64)
    streams = [RandomStream(random, "_inst", lambda rank: random.Random(f"{seed} {rank}"))]  # noqa: S311
    if "numpy" in sys.modules:
        import numpy.random
        from numpy.random import mtrand

        words = [seed >> 32, seed & (2**32 - 1)]
        streams.append(
            RandomStream(
                mtrand,
                "_rand",
                lambda rank: mtrand.RandomState([*words, rank]),
                (numpy.random,),
            )
        )
    return streams
