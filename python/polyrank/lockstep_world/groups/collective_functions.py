"""Functions of torch.distributed that decide by their own rank, for all ranks at once.

PyTorch's gather and scatter take their list on the root alone, and refuse it elsewhere; in lockstep
one call is made by all ranks, so the list is given, and counts on the root. Peers and split sizes
that differ between ranks do not fit through the functions of a process group, which take ints.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import GatherOptions, ScatterOptions

from polyrank import _C
from polyrank.errors import DivergenceError, UsageError
from polyrank.lockstep_world.groups.process_groups import group_and_root
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]

Work = Any


def _gather(
    tensor: torch.Tensor,
    gather_list: list[torch.Tensor] | None = None,
    dst: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    if not gather_list:
        raise UsageError(
            "in lockstep all ranks run gather: give gather_list, which is filled on the "
            "destination rank and stays as it is on the others"
        )
    group, root = group_and_root(group, dst, group_dst)
    options = GatherOptions()
    options.rootRank = root
    options.asyncOp = async_op
    work = group.gather([gather_list], [tensor], options)
    return work if async_op else None


def _gather_single(
    tensor: torch.Tensor,
    gather_tensor: torch.Tensor | None = None,
    dst: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    if gather_tensor is None:
        raise UsageError(
            "in lockstep all ranks run gather_single: give gather_tensor, which is filled on the "
            "destination rank and stays as it is on the others"
        )
    group, root = group_and_root(group, dst, group_dst)
    options = GatherOptions()
    options.rootRank = root
    options.asyncOp = async_op
    into_one: Any = group  # not every torch's has the method
    work = into_one.gather_single(gather_tensor, tensor, options)
    return work if async_op else None


def _scatter(
    tensor: torch.Tensor,
    scatter_list: list[torch.Tensor] | None = None,
    src: int | torch.SymInt | None = None,
    group: dist.ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    if not scatter_list:
        raise UsageError(
            "in lockstep all ranks run scatter: give scatter_list, of which the source's counts"
        )
    group, root = group_and_root(group, src, group_src)
    options = ScatterOptions()
    options.rootRank = root
    options.asyncOp = async_op
    work = group.scatter([tensor], [scatter_list], options)
    return work if async_op else None


def _monitored_barrier(
    group: dist.ProcessGroup | None = None, timeout: Any = None, wait_all_ranks: bool = False
) -> None:
    own: Any = group_and_root(group, None, None)[0]
    own.monitored_barrier(timedelta(minutes=1), wait_all_ranks)  # no rank can be late


def _with_one_root(original: Callable[..., Any]) -> Callable[..., Any]:
    """`broadcast` or `reduce`, whose root must be the same group rank in all groups."""

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except TypeError as error:
            roots = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.SymInt)]
            if not roots:
                raise
            raise DivergenceError(
                f"{original.__name__}: ranks name different roots, {roots[0]}. The root must be "
                "one member of each rank's group, as dist.get_global_rank(group, 0) is."
            ) from error

    return function


def _with_peer(original: Callable[..., Work]) -> Callable[..., Work]:
    """`ProcessGroup.send` or `recv`, whose peer may differ between ranks.

    Ranks that the peer has no value for take no part. PyTorch's simulator names the one rank that
    takes part by an attribute of the tensor.
    """

    def launch(
        self: dist.ProcessGroup, tensors: list[torch.Tensor], peer: int | torch.SymInt, tag: int
    ) -> Work:
        if not isinstance(peer, torch.SymInt):
            own_rank = getattr(tensors[0], "__src_rank__", None) if tensors else None
            if own_rank is None:
                return original(self, tensors, peer, tag)
            return _C.call_with_rank_dependent(
                lambda: original(self, tensors, peer, tag), only_rank=int(own_rank)
            )
        return _C.call_with_rank_dependent(lambda: original(self, tensors, 0, tag), root=peer)

    return launch


def _with_split_sizes(original: Callable[..., Work]) -> Callable[..., Work]:
    """`ProcessGroup.all_to_all_single`, whose split sizes may differ between ranks."""

    def launch(
        self: dist.ProcessGroup,
        output: torch.Tensor,
        input: torch.Tensor,
        output_split_sizes: Sequence[int | torch.SymInt],
        input_split_sizes: Sequence[int | torch.SymInt],
        *options: Any,
        **named_options: Any,
    ) -> Work:
        sizes = [*output_split_sizes, *input_split_sizes]
        if not any(isinstance(size, torch.SymInt) for size in sizes):
            return original(
                self, output, input, output_split_sizes, input_split_sizes, *options,
                **named_options,
            )  # fmt: skip
        return _C.call_with_rank_dependent(
            lambda: original(self, output, input, [], [], *options, **named_options),
            output_split_sizes=output_split_sizes,
            input_split_sizes=input_split_sizes,
        )

    return launch


_C10D = "torch.distributed.distributed_c10d"
_GROUP = "torch.distributed:ProcessGroup"
_ROOT = "has the list on the root alone, and all ranks call it"
_ONE_ROOT = "says which ranks name which root, where they differ"
_INTS = "takes ints, which can't differ between ranks"


def _barrier(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`barrier`, whose `device_ids` name one GPU for each rank: here there is no device to wait on."""
    options.pop("device_ids", None)
    return original(*args[:2], **options)


ROWS = (
    Row(_C10D, "barrier", with_original(_barrier), "takes no number that differs as a GPU's"),
    Row(_C10D, "gather", in_lockstep(_gather), _ROOT),
    Row(_C10D, "gather_single", in_lockstep(_gather_single), _ROOT, is_optional=True),
    Row(_C10D, "scatter", in_lockstep(_scatter), _ROOT),
    Row(_C10D, "broadcast", _with_one_root, _ONE_ROOT),
    Row(_C10D, "reduce", _with_one_root, _ONE_ROOT),
    Row(_C10D, "monitored_barrier", in_lockstep(_monitored_barrier), "there for gloo alone"),
    Row(_GROUP, "send", _with_peer, _INTS),
    Row(_GROUP, "recv", _with_peer, _INTS),
    Row(_GROUP, "all_to_all_single", _with_split_sizes, _INTS),
    Row(_GROUP, "alltoall_base", _with_split_sizes, _INTS),
)
