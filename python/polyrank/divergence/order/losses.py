"""The losses of a run: what `backward` starts from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch

from polyrank import _C
from polyrank.divergence.content import content_of
from polyrank.replacing.layers import LOSSES
from polyrank.replacing.row import Row, with_original
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS", "Losses", "told_of_backward"]


class _Listener(Protocol):
    def note(self, tensors: Any) -> None:
        """Take what one call of backward starts from."""


_told: list[_Listener] = []  # who is told, the innermost last


@contextlib.contextmanager
def told_of_backward(listener: _Listener) -> Iterator[None]:
    """A block around a run, on the thread that starts it, in which the listener is told."""
    _told.append(listener)
    try:
        with LOSSES.on():
            yield
    finally:
        _told.remove(listener)


class Losses:
    """The losses of one run of all ranks, each rank's in the order of its calls of backward."""

    def __init__(self) -> None:
        self.of_ranks: dict[int, list[float]] = {}

    def note(self, tensors: Any) -> None:
        """Take what one call starts from, if it is one number, as losses are."""
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        mode = enabled_local_tensor_mode()
        thread = _C.RankThread.current()
        own = 0 if thread is None else thread.rank
        ranks = (own,) if mode is None else tuple(sorted(mode.ranks))
        for root in roots:
            if not isinstance(root, torch.Tensor):
                continue
            for share in content_of(root, ranks, copies={}) or ():
                if share.tensor is not None and share.tensor.numel() == 1:
                    value = float(share.tensor.double().item())
                    for rank in share.ranks:
                        self.of_ranks.setdefault(rank, []).append(value)

    def curve(self) -> list[float]:
        """The average over the ranks, by call; up to where the first rank ends."""
        return [sum(values) / len(values) for values in zip(*self.of_ranks.values(), strict=False)]


def _backward(original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
    if _told:
        _told[-1].note(tensors)
    return original(tensors, *args, **kwargs)


ROWS = (
    Row(
        "torch.autograd",
        "backward",
        with_original(_backward),
        "what a program differentiates is its loss, which `polyrank check order` compares",
    ),
)
