"""A server of `polyrank serve` for all runs that tests start, so that each need not import PyTorch.

For sessions of several workers: `make test` has them. POLYRANK_SERVE=0 runs each alone, as `make check` does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["run_server", "status"]

_COMMAND = (sys.executable, "-m", "polyrank", "serve")


def status() -> str:
    """What `polyrank serve --status` says here: how many runs it has served, or that there is none."""
    told = subprocess.run([*_COMMAND, "--status"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or told.stderr.strip()


@contextmanager
def run_server() -> Iterator[None]:
    """A block in which `polyrank run` finds one, in this process's environment."""
    place = tempfile.TemporaryDirectory(prefix="polyrank-serve-", ignore_cleanup_errors=True)
    with place as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", folder)
        # Not waited for: runs before it is there start as themselves.
        starting = subprocess.Popen(
            [*_COMMAND, "--idle", "3600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            starting.wait()
            subprocess.run([*_COMMAND, "--stop"], capture_output=True, check=False)
