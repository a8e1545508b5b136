"""LocalTensorMode: which ranks, nesting, switching off, and LocalTensors outside of any mode."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import distinct, shared
from oracle.rank_by_rank import assert_each_rank, each_rank, local, num_cohorts
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SUBSET = frozenset({1, 4, 6})


def test_factories_in_a_mode_make_local_tensors() -> None:
    with polyrank.LocalTensorMode(4):
        made = [torch.zeros(2), torch.arange(3), torch.tensor([1.0, 2.0]), torch.rand(2)]
    for tensor in made:
        assert isinstance(tensor, polyrank.LocalTensor)
        assert tensor._ranks == frozenset(range(4))
        assert num_cohorts(tensor) == 1


def test_factories_outside_of_a_mode_make_plain_tensors() -> None:
    with polyrank.LocalTensorMode(4):
        pass
    assert type(torch.zeros(2)) is torch.Tensor


def test_ranks_given_as_a_subset() -> None:
    x = local(lambda rank: torch.full((2,), float(rank)), SUBSET)
    with polyrank.LocalTensorMode(SUBSET) as mode:
        assert mode.ranks == SUBSET
        y = x + torch.ones(2)
        z = polyrank.rank_map(torch.tensor)
    assert y._ranks == SUBSET
    assert_each_rank(y, each_rank(lambda rank: torch.full((2,), rank + 1.0), SUBSET))
    assert_each_rank(z, each_rank(torch.tensor, SUBSET))


def test_world_of_one_rank() -> None:
    with polyrank.LocalTensorMode(1):
        x = torch.ones(2) + torch.rand(2)
        assert type(x.sum().item()) is float
    assert isinstance(x, polyrank.LocalTensor)
    assert num_cohorts(x) == 1


def test_large_world_of_one_cohort() -> None:
    with polyrank.LocalTensorMode(1_000_000):
        x = torch.ones(2, 2)
        y = (x @ x).sum() + torch.rand(1)
    assert num_cohorts(y) == 1
    assert len(y._ranks) == 1_000_000


@pytest.mark.parametrize("ranks", [0, -3, "many", frozenset(), frozenset({-1}), 2.5, None, True])
def test_bad_ranks(ranks: Any) -> None:
    with pytest.raises(polyrank.UsageError):
        polyrank.LocalTensorMode(ranks)


def test_nested_modes() -> None:
    with polyrank.LocalTensorMode(4) as outer:
        first = torch.ones(2)
        with polyrank.LocalTensorMode(frozenset({1, 2})) as inner:
            assert polyrank.enabled_local_tensor_mode() is inner
            second = torch.ones(2)
        assert polyrank.enabled_local_tensor_mode() is outer
        third = torch.ones(2) + first
    assert second._ranks == {1, 2}
    assert third._ranks == {0, 1, 2, 3}
    assert polyrank.enabled_local_tensor_mode() is None


def test_the_same_mode_entered_twice_and_again_later() -> None:
    mode = polyrank.LocalTensorMode(2)
    with mode:
        with mode:
            assert isinstance(torch.ones(1), polyrank.LocalTensor)
        assert isinstance(torch.ones(1), polyrank.LocalTensor)
    assert type(torch.ones(1)) is torch.Tensor
    with mode:
        assert isinstance(torch.ones(1), polyrank.LocalTensor)


def test_mode_switched_off_for_a_while() -> None:
    with polyrank.LocalTensorMode(2) as mode:
        x = torch.ones(2)
        with mode.disable():
            assert polyrank.local_tensor_mode() is mode
            assert polyrank.enabled_local_tensor_mode() is None
            assert type(torch.ones(2)) is torch.Tensor
            assert isinstance(x + 1, polyrank.LocalTensor)
        assert polyrank.enabled_local_tensor_mode() is mode
        with polyrank.maybe_disable_local_tensor_mode():
            assert type(torch.ones(2)) is torch.Tensor
            with polyrank.maybe_disable_local_tensor_mode():
                assert type(torch.ones(2)) is torch.Tensor
            assert type(torch.ones(2)) is torch.Tensor
        assert isinstance(torch.ones(2), polyrank.LocalTensor)


def test_maybe_disable_outside_of_a_mode() -> None:
    with polyrank.maybe_disable_local_tensor_mode():
        assert type(torch.ones(2)) is torch.Tensor


def test_mode_left_by_an_exception() -> None:
    with pytest.raises(KeyError), polyrank.LocalTensorMode(2):
        raise KeyError
    assert polyrank.local_tensor_mode() is None
    assert type(torch.ones(2)) is torch.Tensor
    assert type(torch.manual_seed(0)) is torch.Generator


def test_random_stream_inside_a_disabled_mode_is_the_plain_one() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    with polyrank.LocalTensorMode(2) as mode, mode.disable():
        torch.manual_seed(3)
        assert torch.equal(torch.rand(2), expected)


def test_local_tensors_outlive_the_mode() -> None:
    with polyrank.LocalTensorMode(4):
        x = torch.arange(3.0, requires_grad=True)
    (x * x).sum().backward()
    assert_each_rank(x.grad, dict.fromkeys(range(4), torch.tensor([0.0, 2.0, 4.0])))


def test_factories_like_a_local_tensor_outside_of_a_mode() -> None:
    x = distinct(2).on_all_ranks()
    for made in (torch.zeros_like(x), x.new_ones(3), torch.empty_like(x)):
        assert isinstance(made, polyrank.LocalTensor)
    assert num_cohorts(x.new_ones(3)) == 1


def test_operands_on_different_ranks_are_refused() -> None:
    x, y = shared(2, ranks=2).on_all_ranks(), shared(2, ranks=3).on_all_ranks()
    with pytest.raises(polyrank.UsageError) as error:
        x + y
    assert "0-1" in str(error.value)
    assert "0-2" in str(error.value)


def test_operand_outside_of_the_modes_ranks_is_refused() -> None:
    x = shared(2, ranks=4).on_all_ranks()
    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.UsageError):
        x + torch.ones(2)


def test_operand_on_a_subset_of_the_modes_ranks_stays_there() -> None:
    x = local(lambda rank: torch.full((2,), float(rank)), {1, 2})
    with polyrank.LocalTensorMode(4):
        y = x * 2
    assert y._ranks == {1, 2}
    assert_each_rank(y, {1: torch.full((2,), 2.0), 2: torch.full((2,), 4.0)})


def test_mode_on_one_thread_leaves_others_alone() -> None:
    made: list[Tensor] = []
    go_on = threading.Event()

    def make() -> None:
        go_on.wait()
        made.append(torch.ones(2))

    thread = threading.Thread(target=make)  # of the program's before: its own are in the mode
    thread.start()
    with polyrank.LocalTensorMode(2):
        go_on.set()
        thread.join()
    assert type(made[0]) is torch.Tensor


NAMES_BEFORE_AND_AFTER = """
import torch, torch.distributed as dist, torch.distributed.tensor, torch.distributed._local_tensor
from torch.distributed.device_mesh import DeviceMesh

def names():
    owners = (torch, torch.random, torch.Tensor, dist, dist.distributed_c10d, DeviceMesh,
              torch.distributed._local_tensor, torch.nn.Module)
    return {(str(owner), name): value for owner in owners for name, value in vars(owner).items()}

before = names()
code = torch.manual_seed.__code__
import polyrank
changed = [key for key, value in names().items() if key in before and before[key] is not value]
assert not changed, changed
with polyrank.lockstep(world_size=2), polyrank.LocalTensorMode(2):
    assert torch.manual_seed.__code__ is not code
assert torch.manual_seed.__code__ is code
changed = [key for key, value in names().items() if key in before and before[key] is not value]
# Setting up a process group leaves this behind, whoever does it.
assert set(changed) <= {(str(dist.distributed_c10d), "_backend")}, changed
"""


def test_import_and_modes_leave_no_name_of_torch_changed() -> None:
    subprocess.run([sys.executable, "-c", NAMES_BEFORE_AND_AFTER], check=True)


def test_plain_results_while_polyrank_is_loaded() -> None:
    x = torch.arange(4.0, requires_grad=True)
    y = (x * 2).view(2, 2).t()
    y.sum().backward()
    assert type(y) is torch.Tensor
    assert x.grad.tolist() == [2] * 4


def test_lockstep_sets_up_and_takes_down() -> None:
    with polyrank.lockstep(world_size=8) as mode:
        assert dist.is_initialized()
        assert dist.get_world_size() == 8
        assert mode.ranks == frozenset(range(8))
        assert polyrank.enabled_local_tensor_mode() is mode
    assert not dist.is_initialized()
    assert polyrank.local_tensor_mode() is None


@pytest.mark.parametrize("world_size", [0, -1, "many"])
def test_lockstep_with_a_bad_world_size(world_size: Any) -> None:
    with pytest.raises(polyrank.UsageError), polyrank.lockstep(world_size=world_size):
        pass
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("lockstep")
def test_lockstep_within_lockstep_is_refused() -> None:
    with pytest.raises(polyrank.UsageError), polyrank.lockstep(world_size=2):
        pass


@pytest.mark.parametrize("name", ["prod", "max", "median"])
def test_modes_of_others_see_pytorchs_operators(name: str) -> None:
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = torch.rand(4, requires_grad=True)
    with Watch():
        getattr(x, name)().backward()
        torch.linalg.svdvals(torch.rand(3, 3))
    assert "aten._linalg_svd.default" in seen
    assert {operator.partition(".")[0] for operator in seen} == {"aten"}
