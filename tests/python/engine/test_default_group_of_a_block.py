"""A script's main function in a `polyrank.lockstep()` block: `init_process_group` gives the group that is there."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import UsageError

WORLD_SIZE = 4


def main(backend: str | None = "gloo") -> torch.Tensor:
    """As scripts are written."""
    dist.init_process_group(backend)
    x = torch.full((2,), dist.get_rank() + 1.0)
    dist.all_reduce(x)
    assert dist.get_backend() == (backend or "undefined")
    dist.destroy_process_group()
    return x


@pytest.mark.parametrize("backend", ["gloo", "nccl", None])
def test_a_main_function_runs_once_and_again(backend: str | None) -> None:
    with polyrank.lockstep(WORLD_SIZE):
        for _ in range(3):
            assert main(backend).tolist() == [10.0, 10.0]
            assert not dist.is_initialized()
    assert not dist.is_initialized()


def test_a_second_call_is_refused_in_pytorchs_words() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        group = dist.group.WORLD
        dist.init_process_group("gloo")
        assert dist.group.WORLD is group
        with pytest.raises(ValueError, match="initialize the default process group twice"):
            dist.init_process_group("gloo")
        dist.destroy_process_group()
        dist.init_process_group("gloo")
        with pytest.raises(ValueError, match="initialize the default process group twice"):
            dist.init_process_group("gloo")


def test_arguments_of_ranks_are_checked() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        with pytest.raises(UsageError, match=r"world of 8 ranks.*enter polyrank\.lockstep\(8\)"):
            dist.init_process_group("gloo", rank=0, world_size=8)
        with pytest.raises(UsageError, match=r"it is rank 4, but the run has ranks 0\.\.3"):
            dist.init_process_group("gloo", rank=4, world_size=WORLD_SIZE)
        dist.init_process_group(
            "gloo", init_method="tcp://nowhere:1", rank=dist.get_rank(), world_size=WORLD_SIZE
        )


def test_a_name_ends_with_its_block() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        assert dist.get_backend() == "fake"
        dist.init_process_group("gloo")
        assert dist.get_backend() == "gloo"
    with polyrank.lockstep(WORLD_SIZE):
        assert dist.get_backend() == "fake"


def test_an_error_in_a_block_leaves_nothing_behind() -> None:
    def fail() -> None:
        with polyrank.lockstep(WORLD_SIZE):
            dist.init_process_group("gloo")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert not dist.is_initialized()
    with polyrank.lockstep(2):
        assert dist.get_world_size() == 2


@pytest.mark.ranks(WORLD_SIZE, world="lockstep")
def test_a_marked_test_in_lockstep() -> None:
    assert main().tolist() == [10.0, 10.0]


@pytest.mark.ranks(WORLD_SIZE, world="threads")
def test_a_marked_test_on_threads() -> None:
    assert main().tolist() == [10.0, 10.0]
