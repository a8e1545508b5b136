"""examples/llama with shapes only (FakeTensorMode), on as many ranks as nobody has memory for."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

FOLDER = Path(__file__).parents[3] / "examples" / "llama"
TENSOR_PARALLEL = 4


class CountingMode(FakeTensorMode):
    """Fake tensors, and how many operators ran on them."""

    num_operators = 0

    def __torch_dispatch__(self, *args: Any, **kwargs: Any) -> Any:
        self.num_operators += 1
        return super().__torch_dispatch__(*args, **kwargs)


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch, installed: None) -> Iterator[Any]:
    """The example's modules."""
    monkeypatch.syspath_prepend(str(FOLDER))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("model"), importlib.import_module("parallelize")
    for name in ("model", "parallelize"):
        del sys.modules[name]


def train(llama: Any, world_size: int, dim: int) -> tuple[int, torch.Tensor]:
    """Operators that the second step runs, and what ranks hold of a weight."""
    model_module, parallelize_module = llama
    config = model_module.ModelConfig(
        vocab_size=dim, dim=dim, num_kv_heads=8, hidden_dim=dim, max_seq_len=16
    )
    with CountingMode() as counting, polyrank.lockstep(world_size):
        shape = (world_size // TENSOR_PARALLEL, TENSOR_PARALLEL)
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"))
        model = model_module.Transformer(config)
        parallelize_module.parallelize(model, mesh)
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            counting.num_operators = 0
            tokens = torch.randint(0, dim, (2, 16))
            logits = model(tokens)
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()
        return counting.num_operators, model.output.weight.to_local()


def test_16384_ranks_run_as_many_operators_as_8(llama: Any) -> None:
    # 4,096 shards of each weight, which all have one shape.
    few, _ = train(llama, 8, dim=16_384)
    many, weight = train(llama, 16_384, dim=16_384)
    assert many == few
    assert weight.shape == (1, 16_384)
    cohorts: Any = weight.cohorts()  # type: ignore[attr-defined]
    assert len(cohorts) == 1
    assert isinstance(cohorts[0].tensor, FakeTensor)


def test_ranks_with_nothing_cost_one_cohort_more(llama: Any) -> None:
    few, _ = train(llama, 8, dim=64)
    many, weight = train(llama, 512, dim=64)
    assert many < 3 * few
    shapes = {tuple(cohort.tensor.shape) for cohort in weight.cohorts()}  # type: ignore[attr-defined]
    assert shapes == {(1, 64), (0, 64)}


def test_the_device_is_the_one_that_a_fake_tensor_claims() -> None:
    with FakeTensorMode(), polyrank.lockstep(4):
        x = torch.ones(3)
        assert x.device.type == "cpu"
        assert (x + 1).device.type == "cpu"
        assert torch.nn.Linear(3, 3).weight.device.type == "cpu"
        x.set_(torch.ones(5))
        assert x.device.type == "cpu"


def test_meshes_are_made_and_cut_inside_of_fake_tensor_mode(installed: None) -> None:
    with FakeTensorMode(), polyrank.lockstep(8):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        assert mesh["tp"].size() == 4
        assert mesh["dp", "tp"]._flatten("all").size() == 8
        piece = distribute_tensor(torch.ones(10, 2), mesh["tp"], [Shard(0)]).to_local()
        shapes = [tuple(cohort.tensor.shape) for cohort in piece.cohorts()]  # type: ignore[attr-defined]
        assert sorted(set(shapes)) == [(1, 2), (3, 2)]
