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

from polyrank.errors import DivergenceError
from polyrank.lockstep_world.random_functions import is_default
from polyrank.numbers.rank_dependent_numbers import is_rank_dependent_number
from polyrank.replacing.layers import LOCKSTEP_DRAWS, LOCKSTEP_MODE
from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import local_tensor_mode

try:
    import numpy as np
except ImportError:  # PyTorch does without it, and so do we
    np = None  # type: ignore[assignment]

__all__ = ["DRAWS", "SEEDS"]

_WHY = "has one stream for all ranks, whatever the seed"

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
        if self._seed is not None:
            LOCKSTEP_MODE.bring_along(LOCKSTEP_DRAWS)
        mode = local_tensor_mode()
        self._mode = _no_mode if mode is None else weakref.ref(mode)
        return None if self._seed is not None else original(*args, **kwargs)

    def draw(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Draw from it, if all ranks would draw the same."""
        if self._seed is not None and self._mode() is local_tensor_mode():
            _refuse(self._what, self._seed)
        return original(*args, **kwargs)


def _make(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What makes a generator of the program's own from a seed."""
    seed = _differing((*args, *kwargs.values()))
    if seed is not None:
        _refuse(getattr(original, "__qualname__", "a generator"), seed)
    return original(*args, **kwargs)


# Modules, their one hidden generator, of which their functions are methods, and their stream.
_STREAMS: list[tuple[Any, Any, _Stream]] = [(random, random._inst, _Stream("Python's random"))]
if np is not None:
    _STREAMS.append((np.random, np.random.mtrand._rand, _Stream("numpy's random")))

_SEEDS = ("seed", "setstate", "set_state")


def _functions(*, that_seed: bool) -> Iterator[Row]:
    for module, instance, stream in _STREAMS:
        own = with_original(stream.seed if that_seed else stream.draw)
        for name, value in vars(module).items():
            # numpy's `seed` is a function of its own.
            is_its_own = getattr(value, "__self__", None) is instance or name == "seed"
            if is_its_own and (name in _SEEDS) == that_seed:
                yield Row(module.__name__, name, own, _WHY)


def _seed_generator(original: Callable[..., Any], generator: Any, seed: Any) -> Any:
    """`manual_seed` of a program's `torch.Generator`, which says why it can't be by rank."""
    if is_rank_dependent_number(seed) and not is_default(generator):
        _refuse("a torch.Generator", seed)
    return original(generator, seed)


DRAWS = tuple(_functions(that_seed=False))
SEEDS = (
    *_functions(that_seed=True),
    Row("random:Random", "seed", with_original(_make), _WHY),
    *([] if np is None else [Row("numpy.random", "default_rng", with_original(_make), _WHY)]),
    Row("torch:Generator", "manual_seed", with_original(_seed_generator), _WHY),
)
