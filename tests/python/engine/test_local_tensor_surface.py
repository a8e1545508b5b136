"""The names of torch.distributed._local_tensor, with their arguments and meanings."""

from __future__ import annotations

import inspect
from typing import Any

import polyrank
import pytest
import torch
from oracle.as_alone import distinct, mixed, shared
from oracle.rank_by_rank import (
    assert_each_rank,
    local_int,
    num_cohorts,
    ranks_in_cohorts,
    same_on,
    value_on_rank,
)
from torch import Tensor
from torch.distributed import _local_tensor as theirs

NAMES = [
    "LocalTensor",
    "LocalTensorMode",
    "LocalIntNode",
    "rank_map",
    "tensor_map",
    "reconcile_args",
    "maybe_run_for_local_tensor",
    "maybe_disable_local_tensor_mode",
    "local_tensor_mode",
    "enabled_local_tensor_mode",
]


@pytest.mark.parametrize("name", NAMES)
def test_name_takes_the_arguments_of_pytorch(name: str) -> None:
    ours, original = getattr(polyrank, name), getattr(theirs, name)
    if name == "LocalIntNode":  # a class of the extension module
        assert ours({0: 1, 1: 2}) is not None
        return
    entry = {"LocalTensorMode": "__init__", "LocalTensor": "__new__"}.get(name)
    if entry is not None:
        ours, original = getattr(ours, entry), getattr(original, entry)
    own = list(inspect.signature(ours).parameters)
    expected = list(inspect.signature(original).parameters)
    assert own[: len(expected)] == expected


@pytest.mark.parametrize("kind", ["LocalTensor", "LocalTensorMode"])
def test_classes_have_the_attributes_of_pytorch(kind: str) -> None:
    ours, original = getattr(polyrank, kind), getattr(theirs, kind)
    private_helpers = {
        "_equal_local_tensors", "_sync_meta", "_patch_device_mesh", "_unpatch_device_mesh",
        "_patch_dist", "_unpatch_dist",  # install() has them
        "_patch_random_functions", "_unpatch_random_functions", "_any_local_rng_state",
    }  # fmt: skip
    missing = [
        name
        for name in vars(original)
        if not name.startswith("__") and name not in private_helpers and not hasattr(ours, name)
    ]
    assert not missing


def test_everything_public_is_listed() -> None:
    for name in [*NAMES, "reconcile", "lockstep", "Error", "UsageError", "UnsupportedOpError"]:
        assert name in polyrank.__all__
        assert inspect.getdoc(getattr(polyrank, name))


def test_rank_map() -> None:
    with polyrank.LocalTensorMode(4) as mode:
        x = polyrank.rank_map(lambda rank: torch.full((2,), float(rank)))
        y = mode.rank_map(lambda rank: torch.full((2,), float(rank)))
    for made in (x, y):
        assert_each_rank(made, {r: torch.full((2,), float(r)) for r in range(4)})


def test_rank_map_callback_runs_with_plain_tensors() -> None:
    kinds = []

    def callback(rank: int) -> Tensor:
        assert type(rank) is int
        made = torch.ones(2)
        kinds.append(type(made))
        return made

    with polyrank.LocalTensorMode(3):
        polyrank.rank_map(callback)
    assert kinds == [Tensor] * 3


def test_rank_map_of_a_local_tensor_takes_what_each_rank_holds() -> None:
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        y = polyrank.rank_map(lambda _: x.clone())
    assert_each_rank(y, {r: distinct(3).on_rank(r) for r in range(4)})
    y.add_(1)
    assert_each_rank(x, {r: distinct(3).on_rank(r) for r in range(4)})


def test_rank_map_of_one_tensor_is_one_cohort() -> None:
    one = torch.ones(2)
    with polyrank.LocalTensorMode(4):
        assert num_cohorts(polyrank.rank_map(lambda _: one)) == 1


def test_rank_map_outside_of_a_mode_is_for_the_own_rank() -> None:
    with polyrank.lockstep(world_size=4) as mode, mode.disable():
        assert type(polyrank.rank_map(torch.tensor)) is Tensor


def test_tensor_map() -> None:
    x = mixed(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        y = polyrank.tensor_map(x, lambda rank, tensor: tensor * rank)
    assert_each_rank(y, {r: mixed(3).on_rank(r) * r for r in range(4)})


def test_tensor_map_leaves_out_ranks_without_a_result() -> None:
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        y = polyrank.tensor_map(x, lambda rank, tensor: tensor if rank % 2 else None)
    assert isinstance(y, polyrank.LocalTensor)
    assert y._ranks == {1, 3}


def test_tensor_map_on_a_subset() -> None:
    x = same_on({1, 2}, torch.ones(2))
    with polyrank.LocalTensorMode(4):
        y = polyrank.tensor_map(x, lambda rank, tensor: tensor + rank)
    assert_each_rank(y, {1: torch.full((2,), 2.0), 2: torch.full((2,), 3.0)})


def test_tensor_map_shows_its_callback_read_only_tensors() -> None:
    x = same_on(3, torch.zeros(2))
    with polyrank.LocalTensorMode(3):
        with pytest.raises((polyrank.Error, RuntimeError)):
            polyrank.tensor_map(x, lambda rank, tensor: tensor.add_(rank))
        y = polyrank.tensor_map(x, lambda _, tensor: tensor)
        y.add_(1)
    assert_each_rank(x, dict.fromkeys(range(3), torch.zeros(2)))


def test_tensor_map_calls_back_in_the_order_of_ranks() -> None:
    x, seen = mixed(3).on_all_ranks(), []

    def note(rank: int, tensor: Tensor) -> Tensor:
        seen.append(rank)
        return tensor

    with polyrank.LocalTensorMode(4):
        polyrank.tensor_map(x, note)
    assert seen == [0, 1, 2, 3]


def test_tensor_map_shows_tensors_that_can_be_cloned_lazily() -> None:
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        y = polyrank.tensor_map(x, lambda _, tensor: torch._lazy_clone(tensor))
        y.add_(1)
    assert_each_rank(y, {r: distinct(3).on_rank(r) + 1 for r in range(4)})
    assert_each_rank(x, {r: distinct(3).on_rank(r) for r in range(4)})


def test_reconcile_args() -> None:
    x = same_on(3, torch.arange(3.0))
    args, kwargs = polyrank.reconcile_args((x, [x, 2], "a"), {"k": {"deep": x}})
    for plain in (args[0], args[1][0], kwargs["k"]["deep"]):
        assert type(plain) is Tensor
        assert plain.tolist() == [0, 1, 2]
    assert args[1][1] == 2
    assert args[2] == "a"
    with pytest.raises(polyrank.DivergenceError):
        polyrank.reconcile_args((distinct(3).on_all_ranks(),))


@polyrank.maybe_run_for_local_tensor
def offset_of(x: Tensor, rank: int, scale: float = 1.0) -> Any:
    """A function for one rank: it branches on values."""
    assert type(x) is Tensor
    assert type(rank) is int
    if rank > 1:
        return x[:1] * scale, rank * 10
    return x + 1, 0


def test_maybe_run_for_local_tensor() -> None:
    x = distinct(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        result = offset_of(x, local_int((0, 1, 2, 3)), scale=2.0)
    expected = {r: offset_of(distinct(3).on_rank(r), r, scale=2.0) for r in range(4)}
    assert_each_rank(result, expected)


def test_maybe_run_for_local_tensor_outside_of_a_mode_is_a_call() -> None:
    assert offset_of(torch.ones(3), 2)[1] == 20


def test_maybe_run_for_local_tensor_runs_once_for_a_cohort() -> None:
    calls = []

    @polyrank.maybe_run_for_local_tensor
    def count(x: Tensor) -> Tensor:
        calls.append(1)
        return x * 2

    x = mixed(3).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        y = count(x)
    assert len(calls) == 2
    assert ranks_in_cohorts(y) == [[0, 2], [1, 3]]


def test_maybe_run_for_local_tensor_whose_results_must_agree() -> None:
    @polyrank.maybe_run_for_local_tensor
    def name(i: int) -> str:
        return f"rank {i}"

    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.DivergenceError):
        name(local_int((0, 1)))


def test_flatten_and_unflatten() -> None:
    x = distinct(3).on_all_ranks()
    names, context = x.__tensor_flatten__()
    inner = {name: getattr(x, name) for name in names}
    y = polyrank.LocalTensor.__tensor_unflatten__(inner, context, x.shape, x.stride())
    assert_each_rank(y, {r: distinct(3).on_rank(r) for r in range(4)})


def test_current_mode() -> None:
    assert polyrank.local_tensor_mode() is None
    assert polyrank.enabled_local_tensor_mode() is None
    with polyrank.LocalTensorMode(2) as mode:
        assert polyrank.local_tensor_mode() is mode
        assert polyrank.enabled_local_tensor_mode() is mode
        with polyrank.maybe_disable_local_tensor_mode():
            assert polyrank.local_tensor_mode() is mode
            assert polyrank.enabled_local_tensor_mode() is None


def test_both_simulators_agree_on_a_program() -> None:
    def program(x: Tensor) -> Any:
        y = torch.nn.functional.softmax(x @ torch.ones(3, 2), dim=0)
        return y, y.shape, (y > 0).all()

    plain = {rank: distinct(4, 3).on_rank(rank) for rank in range(4)}
    with theirs.LocalTensorMode(4):
        expected = program(theirs.LocalTensor(dict(plain)))
    with polyrank.LocalTensorMode(4):
        actual = program(polyrank.LocalTensor(dict(plain)))
    assert_each_rank(actual[0], dict(expected[0]._local_tensors))
    assert actual[1] == expected[1]


def test_size_attribute() -> None:
    x = polyrank.LocalTensor({0: torch.ones(1, 3), 1: torch.ones(2, 3)})
    assert [value_on_rank(size, 1) for size in x._size] == [2, 3]
    assert shared(2, 3).on_all_ranks()._size == [2, 3]


def test_a_function_of_one_rank_may_return_its_argument(
    lockstep: polyrank.LocalTensorMode,
) -> None:
    t = polyrank.rank_map(lambda rank: torch.full((2,), float(rank)))
    assert polyrank.maybe_run_for_local_tensor(lambda x: x)(t) is t

    @polyrank.maybe_run_for_local_tensor
    def pad_odd(x: torch.Tensor, rank: int) -> torch.Tensor:
        return x if rank % 2 == 0 else torch.cat([x, x])

    some = pad_odd(t, polyrank.rank_map(lambda rank: torch.tensor(rank)).item())
    some.add_(10)
    assert [some.on_rank(rank).tolist() for rank in (1, 2)] == [[11] * 4, [12] * 2]
    assert t.on_rank(2).tolist() == [2, 2]
