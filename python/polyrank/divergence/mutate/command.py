"""A command that is run again and again: in a session of its own, up to a time."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Command", "Ended"]

_SECONDS_TO_END = 5.0  # after SIGTERM


@dataclass(frozen=True)
class Ended:
    """How a run of it ended."""

    exit_code: int | None  # None: it was ended because it took too long
    seconds: float
    output: str

    @property
    def last_line(self) -> str:
        """The last that it said."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""


@dataclass(frozen=True)
class Command:
    """What is run."""

    arguments: tuple[str, ...]

    def run(self, environment: Mapping[str, str], timeout_seconds: float | None = None) -> Ended:
        """Run it, with these variables beside those of this process.

        Raises:
            OSError: there is no such command.
        """
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            running = subprocess.Popen(  # noqa: S603  the caller's command
                self.arguments,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                exit_code: int | None = running.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                exit_code = None
            finally:
                _end(running)
            output.seek(0)
            said = output.read().decode(errors="replace")
        return Ended(exit_code, time.monotonic() - started, said)


def _end(running: subprocess.Popen[bytes]) -> None:
    """End it and what it has started, if it has not ended."""
    if running.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(running.pid, number)
        try:
            running.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        return
