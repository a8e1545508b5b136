"""What tests of forecasts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from polyrank.forecast import clusters


@pytest.fixture(autouse=True, scope="module")
def no_blas_workspaces() -> Iterator[None]:
    """Counts by hand are of tensors; test_inner_memory.py counts cuBLAS's workspaces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
        yield


@pytest.fixture
def cluster_without_times(tmp_path: Path) -> str:
    """A cluster's file that has figures for memory alone."""
    whole = (Path(clusters.__file__).with_name("clusters") / "l40s-pcie.toml").read_text()
    file = tmp_path / "memory-alone.toml"
    file.write_text(whole.partition("gpu_speeds")[0])
    return str(file)
