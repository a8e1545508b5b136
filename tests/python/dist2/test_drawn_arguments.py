"""Arguments drawn at random: each call to dist2 is an error that says why, or does what it says."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from group_calls import GROUP_SIZE, GroupCall, group_calls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polyrank import dist2

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = timedelta(seconds=1)
REFUSALS = (polyrank.Error, RuntimeError, IndexError, TypeError)

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just(object())
)
timeouts = st.one_of(anything, st.timedeltas())
devices = st.one_of(anything, st.sampled_from(["cpu", "cuda", "meta", "cpu:3", "xpu", "no_such"]))
stores = st.one_of(anything, st.builds(dist.HashStore))
ranks = st.one_of(anything, st.integers(-1, 4))
names = st.sampled_from(["fake", "gloo", "lockstep", "nccl", "threads", "no_such", "", "\0"])
options = st.dictionaries(
    st.sampled_from(["values", "checks", "fake_option", "error_on_collective", "other"]),
    st.one_of(anything, st.sampled_from(["mirror", "refuse", "pytorch"])),
    max_size=2,
)


def says_why(error: BaseException) -> bool:
    return bool(str(error)) and "report" not in str(error)


@settings(max_examples=300, deadline=None)
@given(names, timeouts, devices, stores, ranks, ranks, options)
def test_a_new_group_is_refused_or_has_what_was_asked_for(
    name: Any, timeout: Any, device: Any, store: Any, rank: Any, world_size: Any, options: Any
) -> None:
    place = {"store": store, "rank": rank, "world_size": world_size}
    try:
        group = dist2.new_group(name, timeout, device, **place, **options)
    except (*REFUSALS, OverflowError, ValueError) as error:
        assert says_why(error)
        return
    assert (group.rank(), group.size()) == (rank, world_size)
    group.barrier().wait()


@given(anything, anything)
def test_what_is_no_name_or_no_factory_is_refused(name: Any, factory: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        dist2.register_backend(name, factory)
    assert says_why(raised.value)


@pytest.mark.parametrize("result", [None, 3, "group", object()])
def test_a_factory_that_makes_no_group(result: Any) -> None:
    name = f"test_fuzz.{type(result).__name__}"
    dist2.register_backend(name, lambda *_, **__: result)
    with pytest.raises(polyrank.UsageError, match="its factory gave no process group"):
        dist2.new_group(name, TIMEOUT, "cpu", store=dist.HashStore(), rank=0, world_size=1)


def one_of_a_fake_world(program: Callable[[], None]) -> None:
    with polyrank.fake_world(GROUP_SIZE, rank=1):
        program()


def in_lockstep(program: Callable[[], None]) -> None:
    with polyrank.lockstep(GROUP_SIZE):
        program()


def in_threads(program: Callable[[], None]) -> None:
    # What is pending when a program ends is its own affair here.
    with suppress(polyrank.Error, ExceptionGroup):
        polyrank.run_ranks(program, GROUP_SIZE)


WORLDS = pytest.mark.parametrize("world", [one_of_a_fake_world, in_lockstep, in_threads])
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@WORLDS
@SETTINGS
@given(call=group_calls())
def test_a_call_is_an_error_or_done(world: Callable[..., None], call: GroupCall) -> None:
    def program() -> None:
        group = dist2.new_group("gloo", TIMEOUT, "cpu")
        try:
            work = getattr(group, call.method)(*call.arguments)
            if call.method not in ("send", "recv", "recv_anysource"):
                work.wait()
        except REFUSALS as error:
            assert says_why(error)

    world(program)


@WORLDS
@SETTINGS
@given(st.lists(st.integers(-2, GROUP_SIZE), max_size=4))
def test_a_part_of_any_ranks(world: Callable[..., None], part: list[int]) -> None:
    is_valid = part and len(set(part)) == len(part) and set(part) <= set(range(GROUP_SIZE))

    def program() -> None:
        group: Any = dist2.new_group("gloo", TIMEOUT, "cpu")
        try:
            made = group.split_group(part)
        except RuntimeError as error:
            assert world is one_of_a_fake_world  # PyTorch's own check
            assert not is_valid
            assert says_why(error)
            return
        except polyrank.UsageError as error:
            assert not is_valid
            assert says_why(error)
            return
        assert is_valid
        if made is not None:
            assert made.size() == len(part)
            made.allreduce([torch.ones(1)]).wait()

    world(program)
