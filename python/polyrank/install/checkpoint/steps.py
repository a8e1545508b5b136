"""The steps of a checkpoint's protocol, which each rank takes by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException, _wrap_exception

from polyrank.errors import Error
from polyrank.lockstep_world.one_rank import as_rank

__all__ = ["Step"]


class Step:
    """One step. What fails on some ranks is raised for all, as processes do.

    Source: `torch.distributed.checkpoint.utils._DistWrapper`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures: dict[int, Any] = {}

    @contextlib.contextmanager
    def of(self, rank: int) -> Iterator[None]:
        """Run the block as the rank; its error waits for those of the others.

        Raises:
            polyrank.Error: at once, for it is not the program's.
        """
        try:
            with as_rank(rank):
                yield
        except Error:
            raise
        except Exception as error:  # noqa: BLE001 - end() raises it
            self._failures[rank] = _wrap_exception(error)

    def end(self) -> None:
        """Raise a CheckpointException if a rank has failed; it names them all."""
        if self._failures:
            raise CheckpointException(self._name, self._failures)
