"""PyTorch's profiler asks for events of CUDA, which there are none of."""

from __future__ import annotations

import warnings

import pytest
import torch
from polyrank.virtual_gpu import profilers
from torch.profiler import ProfilerActivity, profile, schedule

BOTH = [ProfilerActivity.CPU, ProfilerActivity.CUDA]


@pytest.mark.parametrize("activities", [BOTH, BOTH[1:]])
def test_a_profile_of_the_gpu_has_the_cpus_part_and_says_so_once(
    capfd: pytest.CaptureFixture[str], activities: list[ProfilerActivity]
) -> None:
    profilers._tell.cache_clear()
    x = torch.ones(4, device="cuda")
    with pytest.warns(UserWarning, match="records the CPU alone") as told:
        for _ in range(2):
            with profile(activities=activities) as profiled:
                x + x
                torch.cuda.synchronize()
    assert len([one for one in told if "records the CPU" in str(one.message)]) == 1
    assert "aten::add" in profiled.key_averages().table(sort_by="cuda_time_total")
    assert "Failed to record CUDA event" not in capfd.readouterr().err


def test_a_schedule_of_steps_runs(capfd: pytest.CaptureFixture[str]) -> None:
    x = torch.ones(4, device="cuda")
    ready: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(
            activities=BOTH,
            schedule=schedule(wait=0, warmup=1, active=1),
            on_trace_ready=lambda one: ready.append(one.key_averages().table()),
        ) as profiled:
            for _ in range(2):
                x + x
                profiled.step()
    assert len(ready) == 1
    assert "Failed" not in capfd.readouterr().err


def test_a_profile_of_the_cpu_is_as_ever() -> None:
    profilers._tell.cache_clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the profiler records")
        with profile(activities=BOTH[:1]) as profiled:
            torch.ones(4, device="cuda")
    assert profiled.events() is not None
