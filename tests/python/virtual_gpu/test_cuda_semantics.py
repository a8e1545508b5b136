"""Streams, events and copies by the documentation of CUDA and of PyTorch's notes on it ("CUDA semantics")."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from polyrank.errors import UnsupportedOpError

MIB = 2**20


class Doubled(torch.autograd.Function):
    """Twice its input; where its parts run is kept in `streams`."""

    streams: list[torch.cuda.Stream]

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        Doubled.streams.append(torch.cuda.current_stream())
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        Doubled.streams.append(torch.cuda.current_stream())
        return grad * 2


def timed_event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def bytes_on_gpu(mib: int) -> torch.Tensor:
    return torch.empty(mib * MIB, dtype=torch.uint8, device="cuda")


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [0, 1])
def test_backward_runs_on_the_stream_and_gpu_of_its_forward(device: int) -> None:
    Doubled.streams = []
    stream = torch.cuda.Stream(device=device)
    x = torch.ones(3, device=f"cuda:{device}", requires_grad=True)
    with torch.cuda.stream(stream):
        y = Doubled.apply(x)
    y.sum().backward()
    assert Doubled.streams == [stream, stream]
    assert torch.cuda.current_device() == 0


def test_a_thread_starts_on_the_first_gpu_and_default_streams() -> None:
    found: list[Any] = []
    stream = torch.cuda.Stream(device=1)

    def look() -> None:
        found.extend([torch.cuda.current_device(), torch.cuda.current_stream(1)])

    with torch.cuda.stream(stream):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [0, torch.cuda.default_stream(1)]


def test_stream_and_gpu_come_back_after_an_error() -> None:
    with (
        pytest.raises(KeyError),
        torch.cuda.device(1),
        torch.cuda.stream(torch.cuda.Stream(device=0)),
    ):
        raise KeyError
    assert torch.cuda.current_device() == 0
    assert torch.cuda.current_stream(0) == torch.cuda.default_stream(0)
    with torch.cuda.stream(None), torch.cuda.device(None), torch.cuda.device(-1):
        assert torch.cuda.current_device() == 0


def test_setting_a_stream_sets_its_gpu_and_no_other_gpus_stream() -> None:
    stream = torch.cuda.Stream(device=1)
    torch.cuda.set_stream(stream)
    try:
        assert torch.cuda.current_device() == 1
        assert torch.cuda.current_stream() == stream
        assert torch.cuda.current_stream(0) == torch.cuda.default_stream(0)
    finally:
        torch.cuda.set_stream(torch.cuda.default_stream(1))
        torch.cuda.set_device(0)


def test_a_pool_of_a_priority_has_32_streams() -> None:
    streams = [torch.cuda.Stream() for _ in range(33)]
    assert streams[32] == streams[0]
    assert len({stream.cuda_stream for stream in streams}) == 32
    urgent = torch.cuda.Stream(priority=-1)
    assert urgent not in streams
    with torch.cuda.stream(urgent):
        assert torch.cuda.current_stream().priority == -1


def test_a_handle_stands_for_its_stream() -> None:
    assert torch.cuda.default_stream().cuda_stream == 0
    stream = torch.cuda.Stream()
    assert torch.cuda.ExternalStream(stream.cuda_stream) == stream
    assert torch.cuda.get_stream_from_external(stream.cuda_stream) == stream
    with pytest.raises(UnsupportedOpError, match="streams of other libraries"):
        torch.cuda.ExternalStream(0x7F0000001000)


def test_streams_of_any_accelerator_are_those_of_cuda() -> None:
    stream = torch.Stream(device="cuda")
    with stream:
        assert torch.accelerator.current_stream() == stream
        assert torch.cuda.current_stream().cuda_stream == stream.native_handle != 0
        event = stream.record_event()
    event.synchronize()
    stream.wait_event(event)
    assert event.query()
    with torch.accelerator.device_index(1):
        assert torch.cuda.current_device() == 1


def test_no_stream_captures() -> None:
    assert not torch.cuda.is_current_stream_capturing()


# --- events -----------------------------------------------------------------------------------


def test_an_event_that_was_not_recorded_is_waited_for_by_nobody() -> None:
    event = torch.cuda.Event()
    assert event.query()
    event.synchronize()
    event.wait()
    torch.cuda.current_stream(1).wait_event(event)


def test_an_event_is_of_the_last_time_that_it_was_recorded() -> None:
    start, end = timed_event(), timed_event()
    start.record()
    time.sleep(0.2)
    start.record()
    end.record()
    assert 0 <= start.elapsed_time(end) < 200
    assert end.elapsed_time(start) <= 0


def test_an_event_is_of_the_gpu_that_recorded_it_first() -> None:
    event = timed_event()
    with torch.cuda.device(1):
        event.record()
    assert event.device == torch.device("cuda:1")
    with pytest.raises(RuntimeError, match="device 1 does not match recording stream's device 0"):
        event.record(torch.cuda.current_stream(0))
    other = timed_event()
    other.record()
    with pytest.raises(RuntimeError, match="events of different GPUs"):
        event.elapsed_time(other)
    torch.cuda.current_stream(0).wait_event(event)
    assert event.query()
    event.synchronize()


# --- memory of streams ------------------------------------------------------------------------


def test_memory_belongs_to_the_stream_that_it_was_taken_on() -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        bytes_on_gpu(3)
    assert torch.cuda.memory_reserved() == before + 20 * MIB
    on_default = bytes_on_gpu(3)
    assert torch.cuda.memory_reserved() == before + 40 * MIB
    with torch.cuda.stream(stream):
        again = bytes_on_gpu(3)
    assert torch.cuda.memory_reserved() == before + 40 * MIB
    assert on_default.is_cuda == again.is_cuda


def test_what_a_stream_recorded_is_counted_as_given_back() -> None:
    before = torch.cuda.memory_allocated()
    used = bytes_on_gpu(3)
    used.record_stream(torch.cuda.Stream())
    del used
    assert torch.cuda.memory_allocated() == before
    with pytest.raises(NotImplementedError, match="record_stream"):
        torch.ones(3).record_stream(torch.cuda.current_stream())


# --- copies -----------------------------------------------------------------------------------


def test_what_is_copied_to_the_cpu_without_waiting_is_pinned() -> None:
    x = torch.arange(6.0, device="cuda").view(2, 3).t()
    y = x.to("cpu", non_blocking=True)
    assert y.is_pinned()
    assert y.stride() == x.stride()
    torch.cuda.current_stream().synchronize()
    assert y.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert y.resize_(40).shape == (40,)  # its memory is its own
    assert not x.cpu().is_pinned()
    assert not x.to("cpu", torch.float64).is_pinned()


def test_a_copy_is_of_the_moment_that_it_was_launched() -> None:
    pinned = torch.arange(4.0).pin_memory()
    on_gpu = pinned.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    pinned.add_(1)
    back = torch.empty(4, pin_memory=True)
    back.copy_(on_gpu, non_blocking=True)
    torch.cuda.synchronize()
    assert back.tolist() == [0, 1, 2, 3]
    on_other = on_gpu.to("cuda:1", non_blocking=True)
    on_gpu.zero_()
    assert on_other.tolist() == [0, 1, 2, 3]
    assert torch.cuda.current_device() == 0


def test_memory_of_a_gpu_is_not_pinned() -> None:
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        torch.ones(3, device="cuda").pin_memory()
    pinned = torch.ones(3).pin_memory()
    assert pinned.pin_memory().data_ptr() == pinned.data_ptr()
    assert not pinned.clone().is_pinned()


# --- what is not there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.cuda.set_device(7),
        lambda: torch.cuda.synchronize(7),
        lambda: torch.cuda.Stream(device=7),
        lambda: torch.cuda.mem_get_info(7),
        lambda: torch.cuda.memory_allocated(7),
        lambda: torch.cuda.reset_peak_memory_stats(7),
    ],
)
def test_a_gpu_that_is_not_there(ask: Any) -> None:
    with pytest.raises(RuntimeError, match="invalid device ordinal: cuda:7"):
        ask()
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("ask", [torch.cuda.MemPool, torch.cuda.graph_pool_handle])
def test_pools_of_memory_are_refused_by_name(ask: Any) -> None:
    with pytest.raises(UnsupportedOpError, match="a virtual GPU has no"):
        ask()
