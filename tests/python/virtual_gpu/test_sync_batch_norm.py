"""torch.nn.SyncBatchNorm, whose kernels PyTorch has for GPUs alone, is BatchNorm over the batches of all ranks."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch import nn

SIZE = 4  # of a rank's batch


def trained(model: nn.Module, batch: torch.Tensor, device: str) -> list[torch.Tensor]:
    """What comes out of two steps, the gradients of the last and the statistics."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        result = model(batch.to(device))
        (result.square().sum() / batch.shape[0]).backward()
        optimizer.step()
    norm = model[1] if isinstance(model, nn.Sequential) else model.module[1]  # type: ignore[union-attr]
    gradients = [parameter.grad for parameter in model.parameters()]
    return [one.cpu() for one in (*gradients, norm.running_mean, norm.running_var)]  # type: ignore[union-attr]


def new_model() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GELU())


def batch_of(rank: Any, size: int) -> torch.Tensor:
    torch.manual_seed(9)
    return torch.randn(size, 2, 5, 5) * (rank + 1)


def program() -> list[torch.Tensor]:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(new_model()).cuda()
    model = nn.parallel.DistributedDataParallel(model)
    return trained(model, batch_of(dist.get_rank(), SIZE), "cuda")


def expected() -> list[torch.Tensor]:
    """DDP takes the mean over ranks, which is that over samples where all have as many."""
    batch = torch.cat([batch_of(rank, SIZE) for rank in range(2)])
    return trained(new_model(), batch, "cpu")


def assert_close(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_it_is_batch_norm_over_all_ranks(world: str) -> None:
    for found in polyrank.run_ranks(program, 2, world=world):
        assert_close(found, expected())


def test_it_is_batch_norm_over_all_ranks_in_lockstep(installed: None) -> None:
    with polyrank.lockstep(2):
        dist.init_process_group()
        found = program()
        for rank in range(2):
            own = [one.on_rank(rank) if hasattr(one, "on_rank") else one for one in found]
            assert_close(own, expected())
        dist.destroy_process_group()


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_batches_are_weighed_by_their_sizes(world: str) -> None:
    sizes = (3, 5)

    def statistics() -> list[torch.Tensor]:
        norm = nn.SyncBatchNorm(2).cuda()
        norm(batch_of(dist.get_rank(), sizes[dist.get_rank()]).cuda())
        return [norm.running_mean.cpu(), norm.running_var.cpu()]  # type: ignore[union-attr]

    norm = nn.BatchNorm2d(2)
    norm(torch.cat([batch_of(rank, size) for rank, size in enumerate(sizes)]))
    for found in polyrank.run_ranks(statistics, 2, world=world):
        assert_close(found, [norm.running_mean, norm.running_var])  # type: ignore[list-item]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(dtype: torch.dtype) -> None:
    def half() -> torch.Tensor:
        norm = nn.SyncBatchNorm(2).cuda()
        with torch.autocast("cuda", dtype):
            return norm(batch_of(dist.get_rank(), SIZE).cuda().to(dtype)).float().cpu()  # type: ignore[no-any-return]

    whole = nn.BatchNorm2d(2)(torch.cat([batch_of(rank, SIZE) for rank in range(2)]))
    found = torch.cat(polyrank.run_ranks(half, 2))
    torch.testing.assert_close(found, whole.detach(), rtol=2e-2, atol=2e-2)
