"""Methods of process groups with arguments drawn at random, most of them wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from hypothesis import strategies as st

GROUP_SIZE = 3


class GroupCall(NamedTuple):
    """A method of a group of GROUP_SIZE ranks."""

    method: str
    arguments: tuple[Any, ...]


shapes = st.lists(st.integers(0, 4), max_size=2).map(tuple)
dtypes = st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64])
sizes = st.lists(st.integers(-1, 4), max_size=4)
counts = st.integers(0, 4)
ops = st.sampled_from([dist.ReduceOp.SUM, dist.ReduceOp.AVG, dist.ReduceOp.MAX, dist.ReduceOp.BXOR])


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    tensor = torch.full(draw(shapes), 1).to(draw(dtypes))
    return tensor.t() if tensor.dim() == 2 and draw(st.booleans()) else tensor


def options_of(kind: type[Any], **fields: Any) -> Any:
    options = kind()
    for name, value in fields.items():
        setattr(options, name, value)
    return options


@st.composite
def group_calls(draw: st.DrawFn) -> GroupCall:
    root, op = draw(st.integers(-1, GROUP_SIZE)), draw(ops)
    one = draw(tensors())
    few = [draw(tensors()) for _ in range(draw(counts))]
    others = [draw(tensors()) for _ in range(draw(counts))]
    c10d = torch._C._distributed_c10d
    call = draw(
        st.sampled_from(
            [
                ("allreduce", ([one], options_of(dist.AllreduceOptions, reduceOp=op))),
                ("allreduce", (few, options_of(dist.AllreduceOptions, reduceOp=op))),
                ("allreduce_coalesced", (few,)),
                ("broadcast", ([one], options_of(dist.BroadcastOptions, rootRank=root))),
                ("reduce", ([one], options_of(dist.ReduceOptions, rootRank=root, reduceOp=op))),
                ("allgather", ([few], [one])),
                ("allgather", ([few, others], [one])),
                ("_allgather_base", (few[0] if few else one, one)),
                ("allgather_into_tensor_coalesced", (few, others)),
                ("gather", ([few], [one], options_of(c10d.GatherOptions, rootRank=root))),
                ("scatter", ([one], [few], options_of(c10d.ScatterOptions, rootRank=root))),
                ("reduce_scatter", ([one], [few])),
                ("_reduce_scatter_base", (one, few[0] if few else one)),
                ("reduce_scatter_tensor_coalesced", (few, others)),
                ("alltoall_base", (one, few[0] if few else one, draw(sizes), draw(sizes))),
                ("alltoall", (few, others)),
                ("send", ([one], root, 0)),
                ("recv", ([one], root, 0)),
                ("recv_anysource", ([one], 0)),
            ]
        )
    )
    return GroupCall(*call)
