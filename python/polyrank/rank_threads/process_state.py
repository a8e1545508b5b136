"""What a process has once and each rank needs for itself, while ranks take turns.

One rank runs at a time, so what the process has once can change hands with the turn: it is put in
place when the turn comes to a rank, and kept when another rank gets it. Whoever reads it (Python's
own code, pickle, C) finds the rank's by construction.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from polyrank.rank_threads.random_streams import RandomStream

__all__ = ["PROCESS", "ProcessState", "StatePiece", "state_pieces"]

PROCESS = -1  # stands for the process before and after ranks run, in the place of a rank


class StatePiece(Protocol):
    """One thing that a process has once."""

    def start(self, rank: int) -> Any:
        """What a rank has at first, made while the process's is in place."""

    def keep(self) -> Any:
        """What is in place now."""

    def put(self, kept: Any) -> None:
        """Put it in place."""


@dataclass(frozen=True)
class _Attribute:
    """A value that some object holds. A rank starts with the process's, or with what is made of it."""

    owner: Any
    name: str
    make: Callable[[Any, int], Any] = lambda value, _: value


def _copy(value: Any, _: int) -> Any:
    return copy.copy(value)


def _made_for_rank(stream: RandomStream) -> Callable[[Any, int], Any]:
    return lambda _, rank: stream.make(rank)


class _Attributes:
    """All of them as one piece."""

    def __init__(self, attributes: Sequence[_Attribute]) -> None:
        self._make = [attribute.make for attribute in attributes]
        # The turn changes hands at every collective: this is faster than getattr() and setattr().
        self._places = [(vars(attribute.owner), attribute.name) for attribute in attributes]

    def start(self, rank: int) -> list[Any]:
        return [make(value, rank) for make, value in zip(self._make, self.keep(), strict=True)]

    def keep(self) -> list[Any]:
        return [namespace[name] for namespace, name in self._places]

    def put(self, kept: list[Any]) -> None:
        for (namespace, name), value in zip(self._places, kept, strict=True):
            namespace[name] = value


class _EnabledLogging:
    """What loggers remember of the levels that are in place."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def start(self, rank: int) -> tuple[int, int]:
        return self.keep()

    def keep(self) -> tuple[int, int]:
        self._before = (logging.root.level, logging.root.manager.disable)
        return self._before

    def put(self, kept: tuple[int, int]) -> None:
        if kept != self._before:
            logging.root.manager._clear_cache()  # type: ignore[attr-defined]


class _DefaultDtype:
    """torch.get_default_dtype()."""

    def start(self, rank: int) -> torch.dtype:
        return torch.get_default_dtype()

    def keep(self) -> torch.dtype:
        return torch.get_default_dtype()

    def put(self, kept: torch.dtype) -> None:
        if kept != torch.get_default_dtype():
            torch.set_default_dtype(kept)


class _DTensorTracker:
    """What DTensor draws random numbers with; in a module that a program may never import."""

    _MODULE = "torch.distributed.tensor._random"

    def start(self, rank: int) -> Any:
        return None

    def keep(self) -> Any:
        return getattr(sys.modules.get(self._MODULE), "_rng_tracker", None)

    def put(self, kept: Any) -> None:
        if (module := sys.modules.get(self._MODULE)) is not None:
            vars(module)["_rng_tracker"] = kept


def state_pieces(streams: Sequence[RandomStream]) -> list[StatePiece]:
    """What each rank has of its own in every run, these random streams among it."""
    root = logging.getLogger()
    attributes = [
        _Attribute(sys, "argv", _copy),
        _Attribute(sys, "path", _copy),
        _Attribute(sys, "excepthook"),
        _Attribute(os.environ, "_data", _copy),
        _Attribute(warnings, "filters", _copy),
        _Attribute(warnings, "showwarning"),
        _Attribute(warnings, "_showwarnmsg_impl"),
        _Attribute(root, "handlers", _copy),
        _Attribute(root, "filters", _copy),
        _Attribute(root, "level"),
        # Loggers of modules that ranks share are shared too, below each rank's own root.
        _Attribute(root.manager, "loggerDict", _copy),
        _Attribute(root.manager, "_disable"),
    ]
    attributes += [
        _Attribute(stream.module, stream.name, _made_for_rank(stream)) for stream in streams
    ]
    return [_Attributes(attributes), _EnabledLogging(), _DefaultDtype(), _DTensorTracker()]


class ProcessState:
    """Hands the pieces from rank to rank.

    Thread rule: take() by the rank that has the turn, or when no rank runs.
    """

    def __init__(self, pieces: Sequence[StatePiece], world_size: int) -> None:
        self._pieces = pieces
        self._kept: dict[int, list[Any]] = {
            rank: [piece.start(rank) for piece in pieces] for rank in range(world_size)
        }
        self._present = PROCESS

    def take(self, rank: int) -> None:
        """Keep what is in place for whom it belongs to, and put the rank's (or PROCESS's) there."""
        if rank == self._present:
            return
        self._kept[self._present] = [piece.keep() for piece in self._pieces]
        for piece, kept in zip(self._pieces, self._kept.pop(rank), strict=True):
            piece.put(kept)
        self._present = rank

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Put the process's back afterwards."""
        try:
            yield
        finally:
            self.take(PROCESS)
