"""The pieces of a tensor that `torch.chunk` gives, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["Chunks"]


class Chunks(Sequence[torch.Tensor]):
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

    def __getitem__(self, index: Any) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"chunk {index} of {self._num_chunks}")
        start, length = self._piece(index % len(self), self._tensor.size(self._dim))
        if self._is_past_the_end(length) and index != 0:
            return self._past_the_end()
        return self._tensor.narrow(self._dim, start, length)

    def _piece(self, position: int, whole: Any) -> tuple[Any, Any]:
        """Where a chunk of so long a tensor starts, and how long it is."""
        chunk_length = -(-whole // self._num_chunks)
        start = torch.sym_min(position * chunk_length, whole)  # type: ignore[no-untyped-call]
        return start, torch.sym_min(chunk_length, whole - start)  # type: ignore[no-untyped-call]

    def _is_past_the_end(self, length: Any) -> bool:
        return bool(length == 0)

    def _past_the_end(self) -> torch.Tensor:
        return self._tensor.new_empty(0)  # whatever the tensor's dimensions: FSDP2's own choice
