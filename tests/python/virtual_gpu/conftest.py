"""Two virtual GPUs for each test here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from polyrank.virtual_gpu import virtual_gpu
from torch_builds import needs_cpu_build


@pytest.fixture(autouse=True)
def gpus() -> Iterator[None]:
    if torch.backends.cuda.is_built():
        pytest.skip(needs_cpu_build.kwargs["reason"])
    with virtual_gpu(2):
        yield
