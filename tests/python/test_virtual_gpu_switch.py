"""Virtual GPUs are there from the beginning of their block to its end, and leave nothing behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.errors import UsageError
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch_builds import needs_cpu_build

pytestmark = needs_cpu_build


def test_they_are_there_within_their_block() -> None:
    before = {name: value for name, value in vars(torch.cuda).items() if callable(value)}
    assert not torch.cuda.is_available()
    with polyrank.virtual_gpu(3, name="H100", memory_bytes=2**30, capability=(8, 0)):
        assert torch.cuda.device_count() == 3
        assert torch.cuda.get_device_name(2) == "H100"
        assert torch.cuda.get_device_capability() == (8, 0)
        assert torch.cuda.mem_get_info()[1] == 2**30
        kept = torch.arange(3.0, device="cuda:2")
    assert not torch.cuda.is_available()
    assert torch.accelerator.current_accelerator() is None
    assert not dist.is_nccl_available()
    assert {name: vars(torch.cuda)[name] for name in before} == before
    assert kept.cpu().tolist() == [0, 1, 2]
    with pytest.raises((RuntimeError, AssertionError)):
        torch.ones(1, device="cuda")


def test_a_block_may_be_entered_again() -> None:
    for count in (1, 2):
        with polyrank.virtual_gpu(count):
            x = torch.ones(2, device="cuda", requires_grad=True)
            (x * 3).sum().backward()
            assert x.grad is not None
            assert x.grad.tolist() == [3, 3]


def test_autograd_that_ran_before_runs_on_them() -> None:
    weight = torch.ones(2, requires_grad=True)
    (weight * 2).sum().backward()
    with polyrank.virtual_gpu(2):
        x = torch.ones(2, device="cuda:1", requires_grad=True)
        (x * 3).sum().backward()
        assert x.grad is not None
        assert x.grad.device.index == 1


def test_fewer_than_tensors_live_on_are_refused() -> None:
    with polyrank.virtual_gpu(2):
        kept = torch.ones(1, device="cuda:1")
    with pytest.raises(UsageError, match="tensors live on cuda:1"), polyrank.virtual_gpu(1):
        pass
    del kept
    with polyrank.virtual_gpu(1):
        pass


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 1, "memory_bytes": 0}])
def test_what_makes_no_sense_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is 0"), polyrank.virtual_gpu(**arguments):
        pass
    assert not torch.cuda.is_available()


def test_saved_on_a_gpu_is_loaded_where_there_is_none(tmp_path: Path) -> None:
    with polyrank.virtual_gpu():
        torch.save(torch.arange(3.0, device="cuda"), tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", map_location="cpu").tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="map_location"):
        torch.load(tmp_path / "x.pt")


def test_a_fake_mode_in_between_takes_nothing_away() -> None:
    with polyrank.virtual_gpu(2):
        torch.cuda.synchronize()
    with FakeTensorMode():
        torch.ones(2)
    with polyrank.virtual_gpu(2):
        torch.accelerator.synchronize()
        with torch.cuda.device(1):
            assert torch.ones(1, device="cuda").device.index == 1


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"count": 0}, "count is 0; a machine can be given 1 to 120"),
        ({"count": 300}, "a whole number from 1 to 120.* got count=300"),
        ({"count": "2"}, "got count='2'"),
        ({"memory_bytes": 80e9}, "memory_bytes=80000000000.0"),
        ({"num_multiprocessors": 0}, "num_multiprocessors is 0; it must be positive"),
        ({"capability": 9}, "capability is two of them.*capability=9"),
        ({"capability": (0, 9)}, "major version of capability is 0"),
    ],
)
def test_descriptions_are_checked(argument: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words), polyrank.virtual_gpu(**argument):
        pass


def _drawn(device: str) -> list[float]:
    gpus = polyrank.virtual_gpu(2) if device == "cuda" else contextlib.nullcontext()
    with gpus, polyrank.lockstep(2):
        mesh = init_device_mesh(device, (2,))
        torch.manual_seed(3)
        drawn = distribute_tensor(torch.empty(6, device=device), mesh, [Shard(0)]).uniform_()
        return polyrank.reconcile(drawn.full_tensor().cpu()).tolist()


@pytest.mark.usefixtures("installed")
def test_dtensors_draw_on_gpus_and_on_the_cpu_whichever_was_first() -> None:
    of_cpu, of_gpus = _drawn("cpu"), _drawn("cuda")
    assert (_drawn("cpu"), _drawn("cuda")) == (of_cpu, of_gpus)
