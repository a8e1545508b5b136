"""Two virtual GPUs for each test here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from polyrank.virtual_gpu import virtual_gpu


@pytest.fixture(autouse=True)
def gpus() -> Iterator[None]:
    with virtual_gpu(2):
        yield
