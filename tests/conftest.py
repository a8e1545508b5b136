"""Fixtures and hypothesis profiles for all Python tests.

`POLYRANK_SWEEP=1` asks for the long form of every sweep: more dtypes, all samples, more examples.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest
import torch
import torch.distributed as dist

# Test files import the shared helpers as `oracle.…` and `collectives.…`, whatever import mode pytest
# runs in.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent / "python"))

from typing import TYPE_CHECKING

import polyrank
import run_server
from known_failures import KNOWN_FAILURES

if TYPE_CHECKING:
    from collections.abc import Iterator

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"

hypothesis.settings.register_profile(
    "quick", max_examples=100, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("sweep", max_examples=3000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("sweep" if SWEEP else "quick")


def pytest_configure(config: pytest.Config) -> None:
    """Start a server for the runs of all workers, before there are any."""
    is_controller = getattr(config.option, "numprocesses", None) and not hasattr(
        config, "workerinput"
    )
    if is_controller and os.environ.get("POLYRANK_SERVE") != "0":
        server = run_server.run_server()
        server.__enter__()
        config.add_cleanup(lambda: server.__exit__(None, None, None))
        config.pluginmanager.register(_ServerSummary())


class _ServerSummary:
    """Says at the end what the server did: one that ended early makes a session slow."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"polyrank serve: {run_server.status()}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the known failures, strictly: one that passes fails the run."""
    for item in items:
        for test, reason in KNOWN_FAILURES.items():
            if item.nodeid.endswith(test):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(autouse=True)
def reproducible() -> Iterator[None]:
    """One thread and one seed for each test, so that kernels add in the same order every time."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.random.default_generator.manual_seed(0)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def installed() -> Iterator[None]:
    """polyrank under PyTorch's names."""
    polyrank.install()
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
    polyrank.uninstall()


@pytest.fixture
def lockstep(request: pytest.FixtureRequest) -> Iterator[polyrank.LocalTensorMode]:
    """A world of 4 ranks (or as many as an indirect parameter says) with its default group."""
    with polyrank.lockstep(world_size=getattr(request, "param", 4)):
        mode = polyrank.enabled_local_tensor_mode()
        assert mode is not None
        yield mode
