"""Fixtures of the tests of collectives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The programs are imported by real processes too, which are not run by pytest.
sys.path.insert(0, str(Path(__file__).parents[1]))

import polyrank
from polyrank import _C


@pytest.fixture
def world4() -> Iterator[None]:
    """A lockstep world of 4 ranks that knows each process group, and an empty report."""
    with polyrank.lockstep(world_size=4):
        _C.reset_report()
        yield
