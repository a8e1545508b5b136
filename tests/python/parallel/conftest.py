"""Fixtures of programs on DTensor, tensor parallelism and data parallelism."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The programs are imported by real processes too, which are not run by pytest.
sys.path.insert(0, str(Path(__file__).parents[1]))

import polyrank


@pytest.fixture(scope="module")
def world4() -> Iterator[None]:
    """A lockstep world of 4 ranks under PyTorch's names."""
    polyrank.install()
    with polyrank.lockstep(world_size=4):
        yield
    polyrank.uninstall()
