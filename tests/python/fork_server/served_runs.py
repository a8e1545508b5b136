"""Servers and runs that these tests start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SECONDS = 240.0
USED = "is used\n"


def polyrank(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "polyrank", *arguments]


@dataclass
class Place:
    """A folder of sockets, and programs beside it."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    world: Sequence[str] = ("--world", "processes")

    def __post_init__(self) -> None:
        (self.folder / "runtime").mkdir(mode=0o700, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        here = {name: value for name, value in os.environ.items() if name != "POLYRANK_SERVE"}
        return {**here, "XDG_RUNTIME_DIR": str(self.folder / "runtime"), **self.variables}

    @property
    def sockets(self) -> list[Path]:
        return sorted((self.folder / "runtime" / "polyrank").glob("*.socket"))

    def serve(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            polyrank("serve", *options),
            capture_output=True,
            check=False,
            text=True,
            timeout=SECONDS,
            env=self.environment,
            cwd=self.folder,
        )

    def start_server(self, *options: str) -> psutil.Process:
        before = set(self.sockets)
        done = self.serve("--idle", "600", *options)
        assert done.returncode == 0, done.stderr
        (new,) = set(self.sockets) - before
        return psutil.Process(int(new.stem))

    def write(self, text: str, name: str = "program.py") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def start(
        self, text: str, *options: str, ranks: int = 2, arguments: Sequence[str] = (), **more: Any
    ) -> subprocess.Popen[str]:
        script = self.write(text)
        command = ("run", *self.world, "--ranks", str(ranks), *options, str(script), *arguments)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        given = {"env": self.environment, "cwd": self.folder, **streams, **more}
        return subprocess.Popen(polyrank(*command), **given)

    def run(
        self, text: str, *options: str, input: str | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        if input is not None:
            more["stdin"] = subprocess.PIPE
        process = self.start(text, *options, **more)
        try:
            out, err = process.communicate(input, timeout=SECONDS)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run_served(self, text: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """One that a server takes, as it says."""
        done = self.run(text, "--verbose", *options, **more)
        assert USED in done.stderr, done.stderr
        return done


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(server: psutil.Process) -> None:
    if not is_gone(server.pid):
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: is_gone(server.pid))
