"""The lockstep world: a default process group and a mode, set up and taken down together."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Literal

import torch.distributed as dist
from torch.distributed.distributed_c10d import init_process_group

from polyrank import _C
from polyrank.any_world.default_group import run_of_program
from polyrank.errors import DivergenceError, UsageError
from polyrank.lockstep_world.groups.process_groups import known_process_groups
from polyrank.lockstep_world.stores import store_of_all_ranks
from polyrank.replacing.layers import INSTALL, LOCKSTEP_BLOCK
from polyrank.tensor.local_tensor_mode import LocalTensorMode


@contextlib.contextmanager
def lockstep(world_size: int) -> Iterator[LocalTensorMode]:
    """Run the block on `world_size` ranks at once: the entry for tests and notebooks.

    Sets up torch.distributed's default process group and a LocalTensorMode over all ranks, and
    takes both down afterwards. `init_process_group`, with any backend, gives the group that is there, so that a
    script's main function runs as it is. DTensor, FSDP2, DDP and checkpoints need `polyrank.install()` before.

    Raises:
        UsageError: `world_size` is not a positive int, or a default process group exists; from
            `init_process_group`, that the program asks for another world size.

    Example:
        with polyrank.lockstep(world_size=8):
            x = torch.ones(4) * dist.get_rank()
            dist.all_reduce(x)
    """
    if dist.is_initialized():
        raise UsageError(
            "torch.distributed is initialized already; call destroy_process_group() before "
            "polyrank.lockstep(), or use a polyrank.LocalTensorMode with the group that there is"
        )
    mode = LocalTensorMode(world_size)
    excepthook = sys.excepthook
    try:
        with known_process_groups(), _default_group(world_size), mode:
            yield mode
    except DivergenceError as error:
        if not INSTALL.is_on and _is_of_torchs_own_code(error):
            error.add_note(_NOT_INSTALLED)
        raise
    finally:
        sys.excepthook = excepthook  # init_process_group() puts one above it each time


_TOLD_BY_INSTALL = ("tensor", "fsdp", "checkpoint", "_composable", "_local_tensor")
_NOT_INSTALLED = (
    "PyTorch's own code met this. In a polyrank.lockstep() block DTensor, FSDP2 and checkpoints need a call of "
    "polyrank.install() before it"
)


def _is_of_torchs_own_code(error: BaseException) -> bool:
    """Whether a function of PyTorch that `install()` tells of ranks was on the way to the error."""
    folders = tuple(f"torch.distributed.{name}" for name in _TOLD_BY_INSTALL)
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).startswith(folders) for frame, _ in frames)


@contextlib.contextmanager
def _default_group(world_size: int) -> Iterator[None]:
    """A default group, which the program's first `init_process_group` takes over."""
    is_the_programs = False

    def make_group(init: Callable[..., None]) -> None:
        nonlocal is_the_programs
        if is_the_programs or not dist.is_initialized():
            init_lockstep_group(world_size, init)
        is_the_programs = True

    with run_of_program(world_size, make_group, "enter polyrank.lockstep({})"):
        init_lockstep_group(world_size)
        with LOCKSTEP_BLOCK.on():
            yield


ReductionOrder = Literal[
    "rank", "tree", "gloo", "nccl_ring", "nccl_tree", "halving_doubling", "exact"
]


@contextlib.contextmanager
def reduction_order(
    name: ReductionOrder,
    *,
    channels: int = 1,
    chunk_bytes: int = 2 << 20,
    ranks_per_node: int | None = None,
) -> Iterator[None]:
    """Within this context reductions of floats fold in that order; for the whole process.

    "rank", the order of the group's members, is what holds outside. docs/collectives.md says what the
    others are. What NCCL decides by its own tables is to be said for its two orders, as
    NCCL_DEBUG=INFO shows it.

    Args:
        name: the order.
        channels: of the communicator, all in use, for "nccl_ring" and "nccl_tree".
        chunk_bytes: of "nccl_ring", a rank's share of one round.
        ranks_per_node: of "nccl_tree"; by default all ranks of a group are on one node.

    Raises:
        UsageError: there is no such order, or a number is out of range. A reduction raises it where
            the group has more than 1024 ranks, or does not fill its nodes.
    """
    before = _C.reduction_order()
    _C.set_reduction_order(name, channels, chunk_bytes, ranks_per_node or 0)
    try:
        yield
    finally:
        _C.set_reduction_order(*before)


def init_lockstep_group(world_size: int, init: Callable[..., None] = init_process_group) -> None:
    """Make the default process group of a lockstep world, by torch's function.

    Groups need a backend to exist, though no collective reaches it: PyTorch's "fake" one, as rank
    0 of `world_size`.
    """
    importlib.import_module("torch.testing._internal.distributed.fake_pg")  # makes it known
    init("fake", rank=0, world_size=world_size, store=store_of_all_ranks())
