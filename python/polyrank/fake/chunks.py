"""The pieces of a tensor that each rank gets, made when they are asked for."""

from __future__ import annotations

import torch

__all__ = ["RankChunks"]


class RankChunks:
    """As the list of `num_chunks` pieces of `torch.chunk`, filled up with empty ones.

    FSDP2 makes that list for each parameter and looks at two of them; in a world of a million
    ranks it would be the step's cost.
    """

    def __init__(self, tensor: torch.Tensor, num_chunks: int, dim: int) -> None:
        self._tensor = tensor
        self._num_chunks = num_chunks
        self._dim = dim

    def __len__(self) -> int:
        return self._num_chunks

    def __getitem__(self, index: int) -> torch.Tensor:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        length = self._tensor.size(self._dim)
        chunk_length = -(-length // self._num_chunks)
        start = index % self._num_chunks * chunk_length
        if start >= length and index != 0:
            return self._tensor.new_empty(0)
        return self._tensor.narrow(self._dim, start, min(chunk_length, length - start))
