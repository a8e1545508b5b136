"""DistributedDataParallel in forecasts: its buckets, and what a step launches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from polyrank.forecast.running import Forecast
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

MIB = 2**20


def trained(model: nn.Module, *inputs: Tensor, steps: int = 3, **options: Any) -> None:
    ddp = DistributedDataParallel(model, **options)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    for _ in range(steps):
        ddp(*inputs).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def launched(f: Forecast) -> dict[str, list[float]]:
    """Payloads by kind, of all steps."""
    assert f.timeline is not None
    recording = f.timeline.recording(f.rank)
    found: dict[str, list[float]] = {}
    for name, series, size in zip(
        recording["name"], recording["series_of"], recording["bytes"], strict=True
    ):
        if series >= 0:
            found.setdefault(recording["texts"][name], []).append(size)
    return found


def test_gradients_go_in_buckets_of_25_mib() -> None:
    # Eight layers of 16 MiB and 8 KiB: the last one's gradients come first.
    with polyrank.forecast(world_size=4, rank=1, time=True) as f:
        model = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(8))).cuda()
        trained(model, torch.empty(64, 2048, device="cuda"))
    layer = 16 * MIB + 8192
    buckets = [layer] + [2 * layer] * 3 + [layer]
    assert launched(f)["all_reduce"] == buckets * 3
    counts = [total.count for step in f.time.steps[1:] for total in step.by_group.values()]
    assert counts == [5, 5]


def test_other_sizes_of_buckets() -> None:
    with polyrank.forecast(world_size=4, time=True) as f:
        model = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(4))).cuda()
        trained(model, torch.empty(64, 2048, device="cuda"), bucket_cap_mb=40)
    layer = 16 * MIB + 8192
    assert launched(f)["all_reduce"] == [3 * layer, layer] * 3


class Block(nn.Module):
    """As in ResNet."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.body(x)).relu()


def test_a_network_of_convolutions_sends_its_buffers_too() -> None:
    with polyrank.forecast(world_size=8, rank=3, time=True) as f:
        model = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            *(Block(64) for _ in range(3)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 1000),
        ).cuda()
        trained(model, torch.empty(32, 3, 224, 224, device="cuda"))
    told = launched(f)
    gradients = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert sum(told["all_reduce"]) == 3 * gradients
    buffers = sum(buffer.nbytes for buffer in model.buffers() if buffer.is_floating_point())
    assert sum(told["broadcast"]) >= 3 * buffers
    assert 0 < f.time.mfu < 1


def test_with_bytes_nothing_changes() -> None:
    with polyrank.virtual_gpu(2), polyrank.fake_world(2, rank=1):
        model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))).cuda()
        ddp = DistributedDataParallel(model)
        for _ in range(3):
            ddp(torch.ones(4, 8, device="cuda")).sum().backward()
        assert all(parameter.grad is not None for parameter in ddp.parameters())
        assert Counter(type(p.grad) for p in ddp.parameters()) == {Tensor: 6}
        assert dist.get_rank() == 1


def test_the_optimizer_waits_for_the_last_bucket() -> None:
    """Nothing is left to compute beside the only bucket's all_reduce, whether its Future or Work is waited for."""

    def exposed(*, by_hand: bool) -> list[int]:
        with polyrank.forecast(world_size=8, time=True) as f:
            model = nn.Linear(4096, 4096, bias=False).cuda()
            inputs = torch.empty(64, 4096, device="cuda")
            if by_hand:
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for _ in range(3):
                    model(inputs).sum().backward()
                    work = dist.all_reduce(model.weight.grad, async_op=True)
                    assert work is not None
                    work.wait()
                    optimizer.step()
                    optimizer.zero_grad()
            else:
                trained(model, inputs)
        for step in f.time.steps[1:]:
            assert step.by_operator["all_reduce"].exposed_ns == step.exposed_ns
        return [step.exposed_ns for step in f.time.steps[1:]]

    ddp, by_hand = exposed(by_hand=False), exposed(by_hand=True)
    assert min(by_hand) > 0
    assert ddp == by_hand
