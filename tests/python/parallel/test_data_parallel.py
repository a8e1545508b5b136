"""DistributedDataParallel in 2 real gloo processes and in lockstep: the same bits on each rank."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import polyrank
import pytest
import torch
from collectives.comparison import differences, on_rank, run_in_lockstep
from collectives.gloo_processes import Results, run_all_ranks
from parallel.data_parallel_programs import (
    PROGRAMS,
    WORLD_SIZE,
    delayed_parameters,
    no_delayed_parameters,
)
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn.parallel import DistributedDataParallel


@pytest.fixture(scope="module")
def gloo_results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("gloo")
    return run_all_ranks(folder, "parallel.data_parallel_programs", WORLD_SIZE)


@pytest.fixture(scope="module")
def world2() -> Iterator[None]:
    polyrank.install()
    with polyrank.lockstep(world_size=WORLD_SIZE):
        yield
    polyrank.uninstall()


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_rank_gets_what_gloo_gives(
    name: str, gloo_results: list[Results], world2: None
) -> None:
    tensors = run_in_lockstep(PROGRAMS[name], {})
    assert not differences(tensors, [of_rank[name] for of_rank in gloo_results])


def test_parameters_that_are_reduced_later_get_the_same(world2: None) -> None:
    delayed = delayed_parameters(polyrank.rank_map)
    expected = no_delayed_parameters(polyrank.rank_map)
    for rank in range(WORLD_SIZE):
        for got, wanted in zip(delayed, expected, strict=True):
            assert torch.equal(on_rank(got, rank), on_rank(wanted, rank))


class First(nn.Module):
    """Uses one of its two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](x)


def test_a_parameter_without_a_gradient_is_named(world2: None) -> None:
    model = DistributedDataParallel(First())
    model(torch.ones(2, 3)).sum().backward()
    with pytest.raises(RuntimeError, match=r"finished reduction.*layers\.1\.weight.*no gradient"):
        model(torch.ones(2, 3))


def test_a_parameter_with_two_gradients_is_named(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3))
    output = model(torch.ones(2, 3))
    output.sum().backward(retain_graph=True)
    model.reducer._expects_hooks = True  # as in a backward pass that reaches a parameter twice
    with pytest.raises(RuntimeError, match=r"ready only once: (weight|bias) got a gradient"):
        output.sum().backward()


def test_a_static_graph_that_changes_is_named(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3), static_graph=True)
    x = torch.ones(2, 3)
    model(x).sum().backward()
    (model(x) + model(x)).sum().backward()  # autograd adds before it accumulates: alike
    output = model(x)
    output.sum().backward(retain_graph=True)
    model.reducer._expects_hooks = True
    with pytest.raises(RuntimeError, match=r"(weight|bias) got more gradients than in the first"):
        output.sum().backward()


def test_shapes_that_differ_between_ranks(world2: None) -> None:
    linear = nn.Linear(3, 3)
    linear.weight = nn.Parameter(polyrank.rank_map(lambda rank: torch.ones(3 + rank, 3)))
    with pytest.raises(
        polyrank.DivergenceError, match=r"same shapes.*'0': \(3, 3\), '1': \(4, 3\)"
    ):
        DistributedDataParallel(linear)


def test_sparse_gradients_are_refused(world2: None) -> None:
    with pytest.raises(polyrank.UnsupportedOpError, match="sparse=False"):
        DistributedDataParallel(nn.Embedding(4, 3, sparse=True))


def test_a_second_hook_is_refused(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3))
    model.register_comm_hook(None, default_hooks.allreduce_hook)
    with pytest.raises(RuntimeError, match="only be called once"):
        model.register_comm_hook(None, default_hooks.allreduce_hook)


def test_finalizing_by_hand_is_refused(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3))
    model.reducer._set_manual_finalization_required(False)
    with pytest.raises(polyrank.UnsupportedOpError, match="not there in lockstep"):
        model.reducer._set_manual_finalization_required(True)


def test_what_it_says_about_itself(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3), gradient_as_bucket_view=True)
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    model(torch.ones(2, 3)).sum().backward()
    data = model._get_ddp_logging_data()
    assert data["comm_hook"] == "fp16_compress_hook"
    assert data["bucket_sizes"] == str(4 * (9 + 3))
    assert data["iteration"] == 1
    assert data["world_size"] == WORLD_SIZE


def test_one_all_reduce_a_bucket(world2: None) -> None:
    model = DistributedDataParallel(
        nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), bucket_cap_mb=4e-5
    )
    x = polyrank.rank_map(lambda rank: torch.full((2, 3), float(rank)))
    model(x).sum().backward()
    with CommDebugMode() as counts:
        model(x).sum().backward()
    assert counts.get_total_counts() == 2


def test_gradients_are_one_cohort(world2: None) -> None:
    model = DistributedDataParallel(nn.Linear(3, 3))
    x = polyrank.rank_map(lambda rank: torch.full((2, 3), float(rank)))
    model(x).sum().backward()
    gradient: Any = model.module.weight.grad
    assert len(gradient.cohorts()) == 1
    model(x).sum().backward()
    assert model.module.weight.grad is gradient
    assert len(gradient.cohorts()) == 1
    assert torch.equal(gradient.reconcile(), torch.full((3, 3), 2.0))


def test_the_reducer_goes_with_the_model(world2: None) -> None:
    linear = nn.Linear(3, 3)
    reducer = weakref.ref(DistributedDataParallel(linear).reducer)
    gc.collect()
    assert reducer() is None
    linear(torch.ones(2, 3)).sum().backward()
