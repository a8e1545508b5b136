"""Training in parallel gives the losses and weights that one device gives."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator

import polyrank
import pytest
import torch
from parallel.training_programs import (
    ALL,
    BFLOAT16,
    HALVES,
    PROGRAMS,
    Training,
    batches_of_ranks,
    make_batches,
    make_model,
    mesh_of,
    shard_fully,
    tensor_parallel,
    train,
    train_in_lockstep,
    train_on_one_device,
    whole,
)
from torch import nn
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    loss_parallel,
    parallelize_module,
)
from torch.distributed.tensor.parallel.ddp import _reconstruct_dtensor


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compare(
    actual: tuple[list[float], dict[str, torch.Tensor]], training: Training, tolerance: float
) -> None:
    mode = polyrank.enabled_local_tensor_mode()
    assert mode is not None
    with mode.disable():
        expected_losses, expected_weights = train_on_one_device(training)
        losses, weights = actual
        close = {"rtol": tolerance, "atol": tolerance}
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), **close)
        assert weights.keys() == expected_weights.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected_weights[name], **close, msg=name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_parallel_training_gives_what_one_device_gives(name: str, world4: None) -> None:
    parallelize, training = PROGRAMS[name]
    compare(train_in_lockstep(parallelize, training), training, 1e-5)


def test_mixed_precision_is_close_and_not_equal(world4: None) -> None:
    def shard(model: nn.Module) -> nn.Module:
        return shard_fully(model, mesh_of(4), mp_policy=BFLOAT16)

    actual = train_in_lockstep(shard, ALL)
    compare(actual, ALL, 5e-2)
    with pytest.raises(AssertionError):
        compare(actual, ALL, 1e-6)


@pytest.mark.parametrize("hidden", [10, 6, 3])
def test_shards_that_do_not_divide(hidden: int, world4: None) -> None:
    training = Training(data_parallel=4, hidden=hidden)
    actual = train_in_lockstep(lambda model: shard_fully(model, mesh_of(4)), training)
    compare(actual, training, 1e-5)


def test_each_rank_holds_its_own_shard(world4: None) -> None:
    model = make_model()
    before = whole(model.out.weight)
    shard_fully(model, mesh_of(4))
    weight = model.out.weight
    assert isinstance(weight, DTensor)
    for rank in range(4):
        assert torch.equal(weight.to_local().detach().on_rank(rank), before.chunk(4)[rank])


def test_data_parallel_over_tensor_parallel(world4: None) -> None:
    mesh = mesh_of(2, 2)
    model = tensor_parallel(make_model(), mesh["tp"])
    wrapped = nn.parallel.DistributedDataParallel(model, device_mesh=mesh["dp"])
    losses = train(wrapped, HALVES, batches_of_ranks(HALVES))
    _reconstruct_dtensor(wrapped.module, None)
    # They are parameters of the module no longer.
    names = [name for name, _ in make_model().named_parameters()]
    weights = {name: whole(operator.attrgetter(name)(model)) for name in names}
    compare((losses, weights), HALVES, 1e-5)


def test_loss_parallel(world4: None) -> None:
    mesh = mesh_of(4)
    (x, y), *_ = make_batches()
    model = make_model()
    plan = ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)
    parallelize_module(model, mesh, {"out": plan})
    with loss_parallel():
        labels = distribute_tensor(y.flatten(), mesh, [Replicate()])
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), labels)
        loss.backward()
    alone = make_model()
    expected = nn.functional.cross_entropy(alone(x).flatten(0, 1), y.flatten())
    expected.backward()
    torch.testing.assert_close(whole(loss), whole(expected))
    torch.testing.assert_close(whole(model.out.weight.grad), whole(alone.out.weight.grad))
