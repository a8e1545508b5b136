"""Random streams of Python and numpy in lockstep: one for all ranks.

`random.seed(rank)` would give each rank a stream of its own, whose numbers Python code could not hold.
Programs seed all libraries in one place and then draw from torch alone, so seeding is no error: drawing
is, until the next seed that all ranks share.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from polyrank.errors import DivergenceError
from polyrank.rank_dependent_numbers import is_rank_dependent_number

try:
    import numpy as np
except ImportError:  # PyTorch does without it, and so do we
    np = None  # type: ignore[assignment]

__all__ = ["RANDOM_FUNCTIONS", "RankGenerator"]

_REMEDY = (
    "In lockstep each rank has a stream of its own in torch alone: seed with torch.manual_seed and draw with "
    "torch.rand, torch.randint or torch.randperm, take a seed that all ranks share, or run the program in "
    "the threads world (`polyrank run --world threads`)."
)


def _refuse(what: str, seed: Any) -> NoReturn:
    raise DivergenceError(
        f"{what} was seeded with a number that differs between ranks, {seed}. {_REMEDY}"
    )


def _differing(values: Any) -> Any:
    """The first number that differs between ranks, in arguments or lists of them; else None."""
    for value in values:
        inner = _differing(value) if isinstance(value, list | tuple) else None
        if inner is not None or is_rank_dependent_number(value):
            return value if inner is None else inner
    return None


def _active_mode() -> Any:
    from polyrank.local_tensor_mode import local_tensor_mode

    return local_tensor_mode()


def _no_mode() -> object:
    return _no_mode


class _Stream:
    """A module's stream, and the seed that made it differ between ranks."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seed: Any = None
        self._mode: Callable[[], Any] = _no_mode  # in which it was seeded so

    def seed(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Seed it, or note that nobody may draw from it."""
        self._seed = _differing((*args, *kwargs.values()))
        mode = _active_mode()
        self._mode = _no_mode if mode is None else weakref.ref(mode)
        return None if self._seed is not None else original(*args, **kwargs)

    def draw(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Draw from it, if all ranks would draw the same."""
        if self._seed is not None and self._mode() is _active_mode():
            _refuse(self._what, self._seed)
        return original(*args, **kwargs)


def _make(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What makes a generator of the program's own from a seed."""
    seed = _differing((*args, *kwargs.values()))
    if seed is not None:
        _refuse(getattr(original, "__qualname__", "a generator"), seed)
    return original(*args, **kwargs)


def _rows(module: Any, instance: Any, what: str) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """The functions of a module that are methods of its one hidden generator."""
    stream = _Stream(what)
    for name, value in vars(module).items():
        # numpy's `seed` is a function of its own.
        is_its_own = getattr(value, "__self__", None) is instance or name == "seed"
        if is_its_own and not isinstance(value, type):
            seeds = name in {"seed", "setstate", "set_state"}
            yield module, name, stream.seed if seeds else stream.draw


def _rows_of_numpy() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    if np is not None:
        yield from _rows(np.random, np.random.mtrand._rand, "numpy's random")
        yield np.random, "default_rng", _make


class _GeneratorType(type(torch._C.Generator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class RankGenerator(torch._C.Generator, metaclass=_GeneratorType):
    """`torch.Generator`, which says why it can't be seeded by rank."""

    def manual_seed(self, seed: Any) -> torch.Generator:
        """Seed it.

        Raises:
            DivergenceError: the seed differs between ranks.
        """
        if is_rank_dependent_number(seed):
            _refuse("a torch.Generator", seed)
        return super().manual_seed(seed)


# Owner, name, and what to call with the original and its arguments.
RANDOM_FUNCTIONS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    *_rows(random, random._inst, "Python's random"),
    (random.Random, "seed", _make),
    *_rows_of_numpy(),
)
