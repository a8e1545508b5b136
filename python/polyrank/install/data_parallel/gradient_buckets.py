"""The buckets in which DistributedDataParallel reduces gradients."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch._prims_common import is_non_overlapping_and_dense_or_false


def _view_like(buffer: torch.Tensor, offset: int, parameter: torch.Tensor) -> torch.Tensor:
    """The piece of a flat buffer from `offset` on, with the parameter's sizes and strides."""
    if not parameter.is_contiguous() and is_non_overlapping_and_dense_or_false(parameter):
        return buffer.as_strided(
            parameter.size(), parameter.stride(), buffer.storage_offset() + offset
        )
    return buffer.narrow(0, offset, parameter.numel()).view(parameter.size())


class Bucket:
    """Parameters whose gradients are reduced together, and the memory that this takes.

    Invariants: (1) all parameters have the buffer's dtype and device;
    (2) `views[i]` is the piece of `buffer` that holds the gradient of `parameters[i]`.
    """

    def __init__(self, index: int, indices: Sequence[int], parameters: list[torch.Tensor]) -> None:
        """`indices` are the parameters' positions among all that DistributedDataParallel reduces."""
        self.index = index
        self.indices = list(indices)
        self.parameters = parameters
        lengths = [parameter.numel() for parameter in parameters]
        self.offsets = [0, *itertools.accumulate(lengths)][:-1]
        self.buffer = torch.zeros(
            sum(lengths), dtype=parameters[0].dtype, device=parameters[0].device
        )
        self.views = self.views_of(self.buffer)

    def views_of(self, buffer: torch.Tensor) -> list[torch.Tensor]:
        """The gradients in a buffer that is laid out like this bucket's."""
        return [
            _view_like(buffer, offset, parameter)
            for offset, parameter in zip(self.offsets, self.parameters, strict=True)
        ]


class GradBucket:
    """What a communication hook is given: a bucket whose gradients are all there.

    Source: `torch.distributed.GradBucket`, whose methods it has.
    """

    def __init__(self, bucket: Bucket, buffer: torch.Tensor, *, is_last: bool) -> None:
        self._bucket = bucket
        self._buffer = buffer
        self._is_last = is_last

    def index(self) -> int:
        """The position among the buckets, in the order in which they are reduced."""
        return self._bucket.index

    def buffer(self) -> torch.Tensor:
        """All gradients, flat and one after another."""
        return self._buffer

    def set_buffer(self, tensor: torch.Tensor) -> None:
        """Put another flat tensor in the buffer's place, for hooks that follow."""
        self._buffer = tensor

    def gradients(self) -> list[torch.Tensor]:
        """The gradient of each parameter, as a view of the buffer."""
        return self._bucket.views_of(self._buffer)

    def parameters(self) -> list[torch.Tensor]:
        """The parameters, in the order of their gradients."""
        return self._bucket.parameters

    def is_last(self) -> bool:
        """Whether this is the last bucket of the backward pass."""
        return self._is_last
