"""Which GPUs a run has, and that nobody starts CUDA to find out."""

import os

import pytest
import torch
from polyrank.worlds.device import device_as_asked
from polyrank.worlds.run_options import RunOptions


def options(device: str | None) -> RunOptions:
    return RunOptions(
        script="train.py",
        arguments=(),
        is_module=False,
        world="processes",
        world_size=2,
        local_world_size=2,
        device=device,
        json_file=None,
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What the variable that has the driver asked is at each question, of a PyTorch built for a GPU that is there."""
    asked: list[str | None] = []

    def is_available() -> bool:
        asked.append(os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))
        return True

    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    return asked


def test_of_a_build_for_gpus_nobody_asks_whether_there_is_one(started: list[str | None]) -> None:
    with device_as_asked(options(None)):
        assert started == []


def test_where_cuda_is_asked_for_the_driver_is_asked(started: list[str | None]) -> None:
    with device_as_asked(options("cuda")):
        assert started == ["1"]
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
