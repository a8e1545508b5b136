"""Arguments drawn at random: each call is an error that says why, or fills all that it should."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from group_calls import GROUP_SIZE, GroupCall, group_calls
from hypothesis import given
from hypothesis import strategies as st
from polyrank.fake import FakeProcessGroup

_BLANK = 77


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("values", ["mirror", "refuse", "pytorch"])
@given(call=group_calls(), rank=st.integers(0, GROUP_SIZE - 1))
def test_a_call_is_an_error_or_done(checks: bool, values: str, call: GroupCall, rank: int) -> None:
    options = FakeProcessGroup.Options(values=values, checks=checks)
    backend = FakeProcessGroup._create_internal(rank, GROUP_SIZE, options)
    # Some coalesced collectives can only be called through a process group.
    group = polyrank._C.make_fake_group(dist.HashStore(), backend, ["cpu"])
    try:
        owner = backend if hasattr(backend, call.method) else group
        getattr(owner, call.method)(*call.arguments).wait()
    except (polyrank.Error, RuntimeError, IndexError) as error:
        assert str(error)


@given(
    output_sizes=st.lists(st.integers(0, 4), min_size=GROUP_SIZE, max_size=GROUP_SIZE),
    input_sizes=st.lists(st.integers(0, 4), min_size=GROUP_SIZE, max_size=GROUP_SIZE),
    rank=st.integers(0, GROUP_SIZE - 1),
)
def test_every_place_of_an_output_is_written(
    output_sizes: list[int], input_sizes: list[int], rank: int
) -> None:
    group = FakeProcessGroup._create_internal(rank, GROUP_SIZE)
    tokens = torch.arange(float(sum(input_sizes)))
    received = torch.full((sum(output_sizes),), float(_BLANK))
    group.alltoall_base(received, tokens, output_sizes, input_sizes).wait()
    start = sum(input_sizes[:rank])
    own = tokens[start : start + input_sizes[rank]]
    like = own if len(own) else tokens  # a rank that keeps nothing gets what it sends
    for place in received.split(output_sizes):
        times = -(-len(place) // len(like)) if len(like) else 0
        expected = like.repeat(times)[: len(place)] if len(like) else torch.zeros(len(place))
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
