"""The worlds that cases run in: plain, polyrank's, and PyTorch's simulator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import polyrank
import torch.distributed as dist
from torch.distributed import _local_tensor as pytorch
from torch.testing._internal.distributed.fake_pg import FakeStore

World = Callable[[], AbstractContextManager[dict[str, Any]]]


def plain_world(names: dict[str, Any]) -> World:
    return lambda: contextlib.nullcontext(names)


def mode_world(mode: AbstractContextManager[Any], names: dict[str, Any]) -> World:
    """Samples run inside `mode`; what they use was made once."""

    @contextlib.contextmanager
    def world() -> Iterator[dict[str, Any]]:
        with mode:
            yield names

    return world


def grouped_world(
    lockstep: Callable[[], AbstractContextManager[Any]], make_names: Callable[[Any], dict[str, Any]]
) -> World:
    """Samples run inside `lockstep()`, with names made there from the mode that it gives.

    A process has one default process group, so each sample sets up its own and takes it down.
    """

    @contextlib.contextmanager
    def world() -> Iterator[dict[str, Any]]:
        with lockstep() as mode:
            yield make_names(mode)

    return world


def polyrank_lockstep(num_ranks: int) -> AbstractContextManager[polyrank.LocalTensorMode]:
    return polyrank.lockstep(num_ranks)


@contextlib.contextmanager
def pytorch_lockstep(num_ranks: int) -> Iterator[pytorch.LocalTensorMode]:
    """What `polyrank.lockstep` sets up, with PyTorch's simulator."""
    with fake_process_group(num_ranks), pytorch.LocalTensorMode(num_ranks) as mode:
        yield mode


@contextlib.contextmanager
def fake_process_group(num_ranks: int) -> Iterator[None]:
    dist.init_process_group("fake", rank=0, world_size=num_ranks, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()
