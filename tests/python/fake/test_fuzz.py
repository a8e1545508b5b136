"""Arguments drawn at random: each call is an error that says why, or fills all that it should."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from polyrank.fake import FakeProcessGroup

SIZE = 3
_BLANK = 77

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
def calls(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    """A method of the group and its arguments."""
    root, op = draw(st.integers(-1, SIZE)), draw(ops)
    one = draw(tensors())
    few = [draw(tensors()) for _ in range(draw(counts))]
    others = [draw(tensors()) for _ in range(draw(counts))]
    c10d = torch._C._distributed_c10d
    return draw(
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


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("values", ["mirror", "refuse", "pytorch"])
@given(call=calls(), rank=st.integers(0, SIZE - 1))
def test_a_call_is_an_error_or_done(
    checks: bool, values: str, call: tuple[str, tuple[Any, ...]], rank: int
) -> None:
    name, arguments = call
    options = FakeProcessGroup.Options(values=values, checks=checks)
    backend = FakeProcessGroup._create_internal(rank, SIZE, options)
    # Some coalesced collectives can only be called through a process group.
    group = polyrank._C.make_fake_group(dist.HashStore(), backend, ["cpu"])
    try:
        getattr(backend if hasattr(backend, name) else group, name)(*arguments).wait()
    except (polyrank.Error, RuntimeError, IndexError) as error:
        assert str(error)


@given(
    output_sizes=st.lists(st.integers(0, 4), min_size=SIZE, max_size=SIZE),
    input_sizes=st.lists(st.integers(0, 4), min_size=SIZE, max_size=SIZE),
    rank=st.integers(0, SIZE - 1),
)
def test_every_place_of_an_output_is_written(
    output_sizes: list[int], input_sizes: list[int], rank: int
) -> None:
    group = FakeProcessGroup._create_internal(rank, SIZE)
    tokens = torch.arange(float(sum(input_sizes)))
    received = torch.full((sum(output_sizes),), float(_BLANK))
    group.alltoall_base(received, tokens, output_sizes, input_sizes).wait()
    start = sum(input_sizes[:rank])
    own = tokens[start : start + input_sizes[rank]]
    for place in received.split(output_sizes):
        times = -(-len(place) // len(own)) if len(own) else 0
        expected = own.repeat(times)[: len(place)] if len(own) else torch.zeros(len(place))
        assert place.tolist() == expected.tolist()


@given(st.lists(st.integers(-2, 6), max_size=4), st.integers(-2, 5))
def test_groups_of_any_ranks(ranks: list[int], rank: int) -> None:
    try:
        member = polyrank._C.FakeMember.listed(ranks, polyrank._C.FakeRank(rank))
        group = FakeProcessGroup.of_member(member)
    except polyrank.Error as error:
        assert str(error)
        return
    assert member.ranks() == ranks
    assert group.rank() == ranks.index(rank)
    assert [member.global_rank_of(i) for i in range(len(ranks))] == ranks
