"""Which samples each rank takes: `DistributedSampler`, and batches that hold the samples' numbers."""

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


def _collate_numbers(batch: list[Any], *, collate_fn_map: Any = None) -> torch.Tensor:
    return torch.tensor(batch)


def _with_numbers(original: dict[Any, Any]) -> dict[Any, Any]:
    """What makes a batch of values, by their class: of numbers that differ as of ints."""
    return original | {torch.SymInt: _collate_numbers, torch.SymBool: _collate_numbers}


ROWS = (
    Row(
        "torch.utils.data._utils.collate",
        "default_collate_fn_map",
        _with_numbers,
        "knows no numbers that differ",
        is_attribute=True,
    ),
    Row(
        "torch.utils.data.distributed:DistributedSampler",
        "__iter__",
        _make_iter,
        "cuts a list by the rank",
    ),
)
