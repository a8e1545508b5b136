"""`torch.utils.data.DistributedSampler`, which cuts a list of Python ints by the rank."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from polyrank.replacing.row import Row

__all__ = ["ROWS"]

Iterate = Callable[[Any], Iterator[Any]]


def _make_iter(original: Iterate) -> Iterate:
    def __iter__(self: Any) -> Iterator[Any]:  # noqa: N807
        """The indices of each rank's samples, as numbers that differ between ranks."""
        if not isinstance(self.rank, torch.SymInt):
            return original(self)
        alone = copy.copy(self)  # the only rank: it gets all samples
        alone.rank, alone.num_replicas, alone.num_samples = 0, 1, self.total_size
        samples = torch.tensor(list(original(alone)))
        own = samples[self.rank : self.total_size : self.num_replicas]
        return iter(own.tolist())

    return __iter__


ROWS = (
    Row(
        "torch.utils.data.distributed:DistributedSampler",
        "__iter__",
        _make_iter,
        "cuts a list by the rank",
    ),
)
