"""torch.cuda's and torch.accelerator's own functions on virtual GPUs."""

from __future__ import annotations

import time

import pytest
import torch
import torch.distributed as dist
from polyrank.errors import UnsupportedOpError, UsageError
from polyrank.virtual_gpu import virtual_gpu


def test_devices() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 2
    assert torch.cuda.get_device_name() == "polyrank virtual GPU"
    assert torch.cuda.get_device_capability() == (9, 0)
    assert torch.cuda.get_device_properties(1).total_memory == 80 * 2**30
    assert torch.cuda.is_bf16_supported()
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert torch.accelerator.device_count() == 2
    torch.accelerator.synchronize()
    torch.cuda.synchronize()
    assert torch.version.cuda is not None
    assert dist.is_nccl_available()


def test_streams_are_current_in_their_block() -> None:
    stream = torch.cuda.Stream()
    default = torch.cuda.default_stream()
    assert torch.cuda.current_stream() == default
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        x = torch.ones(3, device="cuda")
    torch.cuda.current_stream().wait_stream(stream)
    x.record_stream(torch.cuda.current_stream())
    assert torch.cuda.current_stream() == default
    assert stream.query()
    stream.synchronize()
    assert [torch.cuda.Stream(priority=p).priority for p in (0, -1, -7, 3)] == [0, -1, -1, 0]
    assert torch.cuda.current_stream().priority == 0
    assert stream != torch.cuda.Stream()
    with torch.cuda.stream(torch.cuda.Stream(device=1)):
        assert torch.cuda.current_device() == 1


def test_events_know_the_time_between_them() -> None:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    time.sleep(0.005)
    end.record()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 5
    stream = torch.cuda.Stream()
    stream.wait_event(end)
    end.wait(stream)
    assert isinstance(stream.record_event(), torch.cuda.Event)
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(torch.cuda.Event())
    with pytest.raises(RuntimeError, match="must be recorded"):
        start.elapsed_time(torch.cuda.Event(enable_timing=True))


def test_ranges_nest() -> None:
    with torch.cuda.nvtx.range("outer"):
        assert torch.cuda.nvtx.range_push("inner") == 1
        torch.cuda.nvtx.range_pop()
    torch.cuda.nvtx.mark("here")
    torch.cuda.nvtx._device_range_end(torch.cuda.nvtx._device_range_start("kernels"))


def test_pinned_memory_says_so() -> None:
    x = torch.ones(3).pin_memory()
    assert x.is_pinned()
    assert torch.ones(3, pin_memory=True)[1:].is_pinned()
    assert not torch.ones(3).is_pinned()


def test_data_loaders_pin() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(4.0))
    loader = torch.utils.data.DataLoader(data, batch_size=2, pin_memory=True)
    batches = [batch for (batch,) in loader]
    assert all(batch.is_pinned() for batch in batches)
    assert [batch.cuda().tolist() for batch in batches] == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.cuda.CUDAGraph(),
        lambda: torch.cuda.current_blas_handle(),
        lambda: torch.cuda.caching_allocator_alloc(8),
    ],
)
def test_what_a_virtual_gpu_lacks_is_refused_by_name(ask: object) -> None:
    with pytest.raises(UnsupportedOpError, match=r"a virtual GPU has no .*run the program without"):
        ask()  # type: ignore[operator]


def test_one_at_a_time() -> None:
    with pytest.raises(UsageError, match="on already"), virtual_gpu(1):
        pass


def test_one_process_on_several_gpus_is_refused_by_name() -> None:
    model = torch.nn.DataParallel(torch.nn.Linear(3, 3).cuda())
    with pytest.raises(UnsupportedOpError, match=r"nn\.DataParallel.* use DistributedDataParallel"):
        model(torch.ones(4, 3, device="cuda"))
    with pytest.raises(UnsupportedOpError, match=r"torch\.cuda\.comm"):
        torch.nn.parallel.comm.broadcast(torch.ones(3, device="cuda"), [0, 1])
