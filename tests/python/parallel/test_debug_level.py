"""Programs run with TORCH_DISTRIBUTED_DEBUG=DETAIL, which wraps real groups in checking ones."""

from collections.abc import Iterator

import polyrank
import pytest
import torch
import torch.distributed as dist


@pytest.fixture(autouse=True)
def _detail() -> Iterator[None]:
    level = dist.get_debug_level()
    dist.set_debug_level(dist.DebugLevel.DETAIL)
    yield
    assert dist.get_debug_level() == dist.DebugLevel.DETAIL  # it stays the program's
    dist.set_debug_level(level)


def sums() -> list[torch.Tensor]:
    whole, part = torch.ones(1), torch.ones(1)
    dist.all_reduce(whole)
    group, _ = dist.new_subgroups(2)
    dist.all_reduce(part, group=group)
    return [whole, part]


def test_in_lockstep() -> None:
    with polyrank.lockstep(world_size=4):
        assert [x.reconcile().item() for x in sums()] == [4, 2]


def test_on_threads() -> None:
    for whole, part in polyrank.run_ranks(sums, 4):
        assert (whole.item(), part.item()) == (4, 2)


def test_in_the_fake_world() -> None:
    with polyrank.fake_world(4):
        assert [x.item() for x in sums()] == [4, 2]
