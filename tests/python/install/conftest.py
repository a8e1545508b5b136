"""Everything in this folder runs with polyrank in PyTorch's place."""

from __future__ import annotations

from collections.abc import Iterator

import polyrank
import pytest


@pytest.fixture
def installed() -> Iterator[None]:
    """polyrank under PyTorch's names."""
    polyrank.install()
    yield
    polyrank.uninstall()
